import type { ComponentChildren } from "preact";
import type { Overview } from "./api";
import { formatAge, formatBytes, formatCount, formatSeconds } from "./format";
import { sampleRate } from "./state";

export function StatusBar({ data, failure }: { data: Overview; failure: string | null }) {
  return (
    <header>
      <h1>Outrigger</h1>
      <span class={data.ready ? "badge good" : "badge warn"} data-testid="ready">
        {data.ready ? "ready" : "not ready"}
      </span>
      <span class="quiet">
        {data.version} · up {formatSeconds((data.now_ms - data.started_ms) / 1000)} · {data.config_path} loaded{" "}
        {formatAge(data.config_loaded_ms, data.now_ms)}
      </span>
      {!data.ready && <p class="notice warn">Waiting for: {data.not_ready.join("; ")}</p>}
      {data.config_error && (
        <p class="notice bad">
          The last reload was refused and the earlier configuration goes on: <code>{data.config_error}</code>
        </p>
      )}
      {failure && (
        <p class="notice bad" role="alert">
          Outrigger does not answer ({failure}). Shown below is what it said at{" "}
          {new Date(data.now_ms).toLocaleTimeString()}.
        </p>
      )}
    </header>
  );
}

function Card({ title, tone, children }: { title: string; tone?: string; children: ComponentChildren }) {
  return (
    <div class={`card ${tone ?? ""}`}>
      <div class="quiet">{title}</div>
      <div class="figure">{children}</div>
    </div>
  );
}

export function Summary({ data }: { data: Overview }) {
  const sum = (pick: (job: Overview["jobs"][number]) => number) => data.jobs.reduce((n, job) => n + pick(job), 0);
  const watches = data.clusters.flatMap((cluster) => cluster.watches);
  const requests = data.clusters.flatMap((cluster) => cluster.requests).reduce((n, r) => n + r.count, 0);
  const pending = data.remote_write.reduce((n, endpoint) => n + endpoint.pending_samples, 0);
  const down = sum((job) => job.down);
  const fleet = data.fleet;
  const mirror = (
    <>
      <Card title="objects mirrored">{formatCount(watches.reduce((n, w) => n + w.objects, 0))}</Card>
      <Card title="mirror memory">{formatBytes(watches.reduce((n, w) => n + w.memory_bytes, 0))}</Card>
      <Card title="API server requests">{formatCount(requests)}</Card>
    </>
  );
  if (fleet) {
    const connected = fleet.workers.filter((worker) => worker.state === "connected").length;
    return (
      <div class="cards">
        <Card title="targets">{formatCount(sum((job) => job.unknown))}</Card>
        <Card title="without a worker" tone={fleet.unassigned > 0 ? "bad" : ""}>
          {formatCount(fleet.unassigned)}
        </Card>
        <Card title="series">{formatCount(fleet.workers.reduce((n, worker) => n + worker.series, 0))}</Card>
        <Card title="workers connected" tone={connected < fleet.workers.length ? "bad" : ""}>
          {formatCount(connected)} of {formatCount(fleet.workers.length)}
        </Card>
        {mirror}
      </div>
    );
  }
  return (
    <div class="cards">
      <Card title="targets up">{formatCount(sum((job) => job.up))}</Card>
      <Card title="targets down" tone={down > 0 ? "bad" : ""}>
        {formatCount(down)}
      </Card>
      <Card title="not scraped yet">{formatCount(sum((job) => job.unknown))}</Card>
      <Card title="samples a second">
        {sampleRate.value === null ? "–" : formatCount(Math.round(sampleRate.value))}
      </Card>
      {mirror}
      <Card title="samples waiting to be sent">{formatCount(pending)}</Card>
    </div>
  );
}
