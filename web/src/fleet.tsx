import type { Assignment, Fleet, Monitor, Worker } from "./api";
import { formatAge, formatBytes, formatCount, formatSeconds } from "./format";

const CLOCK_TOLERANCE_MS = 2000;
const COLUMNS = 13;

function tone(state: Worker["state"]): string {
  if (state === "connected") return "badge good";
  return state === "lost" ? "badge bad" : "badge warn";
}

const number = (bad: boolean) => (bad ? "number bad" : "number");

function WorkerRows({ worker, fleet, now }: { worker: Worker; fleet: Fleet; now: number }) {
  const behind = worker.configuration_revision !== fleet.configuration_revision;
  return (
    <>
      <tr>
        <td>
          {worker.name} <span class="quiet">{worker.zone}</span>
        </td>
        <td>
          <span class={tone(worker.state)}>{worker.state}</span>
        </td>
        <td class="number">{formatAge(worker.since_ms, now)}</td>
        <td class="number">{formatCount(worker.targets)}</td>
        <td class="number">{formatCount(worker.series)}</td>
        <td class={number(worker.load > 1.1)}>{Math.round(worker.load * 100)} %</td>
        <td class={number(worker.lateness_seconds > 0.1)}>{formatSeconds(worker.lateness_seconds)}</td>
        <td class={number(worker.skipped_ticks > 0)}>{formatCount(worker.skipped_ticks)}</td>
        <td class="number">{formatCount(worker.failed_scrapes)}</td>
        <td class={number(worker.lag_seconds > 60)}>{formatSeconds(worker.lag_seconds)}</td>
        <td class="number">
          {formatBytes(worker.queue_memory_bytes)} / {formatBytes(worker.queue_disk_bytes)}
        </td>
        <td class="number">{formatBytes(worker.resident_bytes)}</td>
        <td class={number(behind)}>
          {worker.version} <span class="quiet">{worker.configuration_revision}</span>
        </td>
      </tr>
      {worker.configuration_error && (
        <tr>
          <td colSpan={COLUMNS} class="problem">
            The newest configuration is not in force there: {worker.configuration_error}
          </td>
        </tr>
      )}
      {Math.abs(worker.clock_offset_ms) > CLOCK_TOLERANCE_MS && (
        <tr>
          <td colSpan={COLUMNS} class="problem">
            Its clock is {formatSeconds(Math.abs(worker.clock_offset_ms) / 1000)}{" "}
            {worker.clock_offset_ms > 0 ? "behind" : "ahead of"} the master's: its samples have the wrong time.
          </td>
        </tr>
      )}
    </>
  );
}

export function FleetSection({ fleet, now }: { fleet: Fleet; now: number }) {
  return (
    <section>
      <h2>
        Workers{" "}
        <span class="quiet">
          {fleet.workers.length} known, {fleet.workers_wanted} wanted · master {fleet.name}, epoch {fleet.epoch}
        </span>
      </h2>
      {!fleet.leading && (
        <p class="notice warn">
          This master does not lead{fleet.leader ? `; ${fleet.leader} does` : ", and no other is known to"}.
        </p>
      )}
      {fleet.store_error && <p class="notice bad">The store of the config centre: {fleet.store_error}</p>}
      {fleet.unassigned > 0 && (
        <p class="notice bad">{formatCount(fleet.unassigned)} targets have no worker that could scrape them.</p>
      )}
      {fleet.last_known.length > 0 && (
        <p class="notice warn" data-testid="last-known">
          Not discovered since the start; these targets are from before:{" "}
          {fleet.last_known.map((job) => `${job.job} (${formatSeconds(job.age_seconds)} old)`).join(", ")}
        </p>
      )}
      <div class="scroll">
        <table data-testid="workers">
          <thead>
            <tr>
              <th>worker</th>
              <th>state</th>
              <th class="number">since</th>
              <th class="number">targets</th>
              <th class="number">series</th>
              <th class="number">load</th>
              <th class="number">late (p99)</th>
              <th class="number">skipped</th>
              <th class="number">failed</th>
              <th class="number">lag</th>
              <th class="number">queue: memory / disk</th>
              <th class="number">memory</th>
              <th class="number">version</th>
            </tr>
          </thead>
          <tbody>
            {fleet.workers.map((worker) => (
              <WorkerRows key={worker.name} worker={worker} fleet={fleet} now={now} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

export function AssignmentSection({ assignment, now }: { assignment: Assignment; now: number }) {
  const age = assignment.confirmed_seconds;
  return (
    <section>
      <h2>
        Worker {assignment.worker} <span class="quiet">{formatCount(assignment.targets)} targets</span>
      </h2>
      {assignment.master ? (
        <p>
          Assigned by {assignment.master}, epoch {assignment.epoch}, connected {formatAge(assignment.since_ms, now)};
          configuration {assignment.configuration_revision}.
        </p>
      ) : (
        <p class="notice warn" data-testid="no-master">
          No master answers. What was assigned {age === null ? "at an unknown time" : `${formatSeconds(age)} ago`}
          {assignment.from_disk ? ", read from disk," : ""} is scraped on. {assignment.last_error}
        </p>
      )}
      {assignment.save_error && (
        <p class="notice bad">What is assigned cannot be kept on disk: {assignment.save_error}</p>
      )}
      {assignment.configuration_error && (
        <p class="notice bad">
          The newest configuration is not in force: <code>{assignment.configuration_error}</code>
        </p>
      )}
    </section>
  );
}

export function MonitorSection({ monitors }: { monitors: Monitor[] }) {
  return (
    <section>
      <h2>Refused monitors</h2>
      <table data-testid="refused-monitors">
        <tbody>
          {monitors.map((monitor) => (
            <tr key={`${monitor.kind} ${monitor.namespace} ${monitor.name}`}>
              <td>{monitor.kind}</td>
              <td>
                {monitor.namespace}/{monitor.name}
              </td>
              <td class="problem">{monitor.error}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
