import type { Endpoint } from "./api";
import { formatAge, formatBytes, formatCount, formatSeconds } from "./format";

function EndpointRows({ endpoint, now }: { endpoint: Endpoint; now: number }) {
  return (
    <>
      <tr>
        <td>{endpoint.name}</td>
        <td>{endpoint.url}</td>
        <td class="number">{formatCount(endpoint.sent)}</td>
        <td class="number">{formatCount(endpoint.pending_samples)}</td>
        <td class="number">
          {formatBytes(endpoint.pending_bytes)} of {formatBytes(endpoint.capacity_bytes)}
        </td>
        <td class={endpoint.lag_seconds > 60 ? "number bad" : "number"}>{formatSeconds(endpoint.lag_seconds)}</td>
        <td class="number">{endpoint.shards}</td>
        <td class="number">{formatCount(endpoint.retried)}</td>
        <td class={endpoint.dropped > 0 ? "number bad" : "number"}>{formatCount(endpoint.dropped)}</td>
        <td class="number">{formatAge(endpoint.last_success_ms, now)}</td>
      </tr>
      {endpoint.last_error && (
        <tr>
          <td colSpan={10} class="problem">
            {endpoint.last_error}
          </td>
        </tr>
      )}
    </>
  );
}

export function RemoteWriteSection({ endpoints, now }: { endpoints: Endpoint[]; now: number }) {
  return (
    <section>
      <h2>Remote write</h2>
      {endpoints.length === 0 ? (
        <p class="quiet">No remote_write is configured: samples are scraped and go nowhere.</p>
      ) : (
        <div class="scroll">
          <table data-testid="remote-write">
            <thead>
              <tr>
                <th>name</th>
                <th>receiver</th>
                <th class="number">sent</th>
                <th class="number">waiting</th>
                <th class="number">memory</th>
                <th class="number">lag</th>
                <th class="number">shards</th>
                <th class="number">retried</th>
                <th class="number">dropped</th>
                <th class="number">last success</th>
              </tr>
            </thead>
            <tbody>
              {endpoints.map((endpoint) => (
                <EndpointRows key={endpoint.name} endpoint={endpoint} now={now} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
