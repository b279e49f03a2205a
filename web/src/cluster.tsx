import type { Cluster, RequestCount, Watch } from "./api";
import { formatAge, formatBytes, formatCount } from "./format";

function WatchRows({ watch, now }: { watch: Watch; now: number }) {
  const tone = watch.missing_permission ? "bad" : watch.synced ? "good" : "warn";
  return (
    <>
      <tr>
        <td>
          {watch.resource}
          {watch.scope && <span class="quiet"> in {watch.scope}</span>}
        </td>
        <td>
          <span class={`badge ${tone}`}>{watch.phase}</span>
        </td>
        <td class="number">{formatCount(watch.objects)}</td>
        <td class="number">{formatBytes(watch.memory_bytes)}</td>
        <td class="number">{formatAge(watch.last_event_ms, now)}</td>
        <td class="number">{formatCount(watch.events)}</td>
        <td class="number">{formatBytes(watch.received_bytes)}</td>
        <td class="number">{formatCount(watch.reconnects)}</td>
        <td class="number">{formatCount(watch.relists)}</td>
      </tr>
      {watch.last_error && (
        <tr>
          <td colSpan={9} class="problem">
            {watch.last_error}
          </td>
        </tr>
      )}
      {watch.missing_permission && (
        <tr>
          <td colSpan={9} class="problem">
            Add this rule to Outrigger's role:
            <pre>{watch.missing_permission}</pre>
          </td>
        </tr>
      )}
    </>
  );
}

function Requests({ requests }: { requests: RequestCount[] }) {
  return (
    <details>
      <summary>Requests made to this API server: {formatCount(requests.reduce((n, r) => n + r.count, 0))}</summary>
      <table>
        <thead>
          <tr>
            <th>request</th>
            <th>resource</th>
            <th>answer</th>
            <th class="number">count</th>
          </tr>
        </thead>
        <tbody>
          {requests.map((r) => (
            <tr key={`${r.request} ${r.resource} ${r.code}`}>
              <td>{r.request}</td>
              <td>{r.resource}</td>
              <td>{r.code}</td>
              <td class="number">{formatCount(r.count)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}

export function ClusterSection({ cluster, now }: { cluster: Cluster; now: number }) {
  return (
    <section>
      <h2>
        Cluster {cluster.name} <span class="quiet">{cluster.server}</span>
      </h2>
      {cluster.error && <p class="notice bad">{cluster.error}</p>}
      <div class="scroll">
        <table data-testid="watches">
          <thead>
            <tr>
              <th>watched</th>
              <th>state</th>
              <th class="number">objects</th>
              <th class="number">memory</th>
              <th class="number">last event</th>
              <th class="number">events</th>
              <th class="number">received</th>
              <th class="number">reconnects</th>
              <th class="number">relists</th>
            </tr>
          </thead>
          <tbody>
            {cluster.watches.map((watch) => (
              <WatchRows key={`${watch.resource} ${watch.scope}`} watch={watch} now={now} />
            ))}
          </tbody>
        </table>
      </div>
      <Requests requests={cluster.requests} />
    </section>
  );
}
