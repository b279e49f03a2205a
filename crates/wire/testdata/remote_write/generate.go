// Writes a remote write 1.0 request as Prometheus encodes it. See SOURCE.md.
//
//	go run generate.go > golden.bin
package main

import (
	"math"
	"os"
	"strings"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
)

func main() {
	request := prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{
			{
				Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "instance", Value: "10.0.0.1:9100"}, {Name: "job", Value: "node"}},
				Samples: []prompb.Sample{{Value: 1, Timestamp: 1700000000000}},
			},
			{
				Labels: []prompb.Label{{Name: "__name__", Value: "many"}, {Name: "é.x", Value: strings.Repeat("日本", 100)}},
				Samples: []prompb.Sample{
					{Value: 0, Timestamp: 0},
					{Value: -1.5, Timestamp: -1},
					{Value: math.Inf(1), Timestamp: math.MaxInt64},
					{Value: math.Float64frombits(value.StaleNaN), Timestamp: 1},
					{Value: math.Float64frombits(value.NormalNaN), Timestamp: 2},
				},
			},
			{Labels: []prompb.Label{{Name: "__name__", Value: "no_samples"}}},
		},
		Metadata: []prompb.MetricMetadata{
			{Type: prompb.MetricMetadata_GAUGE, MetricFamilyName: "up", Help: "Whether the target\nwas scraped.", Unit: ""},
			{Type: prompb.MetricMetadata_UNKNOWN, MetricFamilyName: "many", Help: "", Unit: "seconds"},
			{Type: prompb.MetricMetadata_STATESET, MetricFamilyName: "s"},
		},
	}
	body, err := request.Marshal()
	if err != nil {
		panic(err)
	}
	if _, err := os.Stdout.Write(body); err != nil {
		panic(err)
	}
}
