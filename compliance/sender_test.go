// Package compliance runs the remote write sender suite of prometheus/compliance against Outrigger.
package compliance

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/compliance/remotewrite/sender"
)

// The keys that Prometheus' own run of the suite sets, start_timestamps for its feature st-storage, and a deadline shorter
// than the scrape interval: some tests want one scrape in the first request.
const config = `
global:
  scrape_interval: 1s
remote_write:
- url: %q
  protobuf_message: %q
  send_exemplars: true
  queue_config: {retry_on_http_429: true, batch_send_deadline: 300ms}
  metadata_config: {send: true}
scrape_configs:
- job_name: %q
  scrape_protocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]
  start_timestamps: true
  static_configs: [{targets: [%q]}]
`

type outrigger struct {
	binary string
}

func (outrigger) Name() string { return "outrigger" }

// Run runs the binary on a configuration of its own until the test ends it with SIGTERM.
func (o outrigger) Run(ctx context.Context, options sender.Options) error {
	dir, err := os.MkdirTemp("", "outrigger-compliance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	text := fmt.Sprintf(config, options.RemoteWriteEndpointURL, options.RemoteWriteMessage,
		options.ScrapeTargetJobName, options.ScrapeTargetHostPort)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	return sender.RunCommand(ctx, dir, nil, o.binary, "run", "-c", file,
		"--data-dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
}

func TestRemoteWriteSender(t *testing.T) {
	binary := os.Getenv("OUTRIGGER")
	if binary == "" {
		t.Fatal("OUTRIGGER names no binary: run cargo xtask compliance remote-write")
	}
	sender.RunTests(t, outrigger{binary}, sender.ComplianceTests())
}
