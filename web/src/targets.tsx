import { useState } from "preact/hooks";
import type { Job, Labels, Target } from "./api";
import { formatAge, formatCount, formatSeconds } from "./format";
import { overview, PAGE_SIZE, query, setQuery, targets } from "./state";

const STATES = ["up", "down", "unknown", "dropped", "error"];
const TONES: Record<string, string> = { up: "good", down: "bad", error: "bad", unknown: "warn" };
const SEARCH_DELAY_MS = 250;

function LabelList({ title, labels }: { title: string; labels: Labels }) {
  return (
    <div>
      <h3>{title}</h3>
      <dl class="labels">
        {Object.entries(labels).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** Health, or on a master the worker: health is known to that. */
function State({ target }: { target: Target }) {
  if (overview.value?.role === "master" && target.state === "unknown") {
    return target.workers.length > 0 ? (
      <span class="badge good">on {target.workers.join(", ")}</span>
    ) : (
      <span class="badge warn">unassigned</span>
    );
  }
  return <span class={`badge ${TONES[target.state] ?? ""}`}>{target.state}</span>;
}

function TargetRows({ target, now }: { target: Target; now: number }) {
  const [open, setOpen] = useState(false);
  const dropped = target.state === "dropped";
  return (
    <>
      <tr>
        <td>
          <button class="link" aria-expanded={open} onClick={() => setOpen(!open)}>
            {open ? "▾" : "▸"} {target.url || target.discovered["__address__"] || "(no address)"}
          </button>
        </td>
        <td>
          <State target={target} />
        </td>
        <td>{target.job}</td>
        <td class="number">{dropped ? "" : formatAge(target.last_scrape_ms, now)}</td>
        <td class="number">{target.last_scrape_ms === null ? "" : formatSeconds(target.last_duration_seconds)}</td>
        <td class="number">{target.last_scrape_ms === null ? "" : formatCount(target.samples)}</td>
        <td class="problem">{target.last_error}</td>
      </tr>
      {open && (
        <tr>
          <td colSpan={7}>
            <div class="columns">
              <LabelList title="Discovered (before relabelling)" labels={target.discovered} />
              {!dropped && <LabelList title="Target (after relabelling)" labels={target.labels} />}
            </div>
          </td>
        </tr>
      )}
    </>
  );
}

function Filters({ jobs }: { jobs: Job[] }) {
  const [timer, setTimer] = useState(0);
  const search = (text: string) => {
    clearTimeout(timer);
    setTimer(setTimeout(() => setQuery({ search: text }), SEARCH_DELAY_MS));
  };
  return (
    <div class="filters">
      <label>
        job{" "}
        <select value={query.value.job} onChange={(e) => setQuery({ job: e.currentTarget.value })}>
          <option value="">all</option>
          {jobs.map((job) => (
            <option key={job.job} value={job.job}>
              {job.job}
            </option>
          ))}
        </select>
      </label>
      <label>
        state{" "}
        <select value={query.value.state} onChange={(e) => setQuery({ state: e.currentTarget.value })}>
          <option value="">all</option>
          {STATES.map((state) => (
            <option key={state} value={state}>
              {state}
            </option>
          ))}
        </select>
      </label>
      <label>
        contains{" "}
        <input
          type="search"
          placeholder="part of a URL or label value"
          onInput={(e) => search(e.currentTarget.value)}
        />
      </label>
    </div>
  );
}

function Pager({ total, offset }: { total: number; offset: number }) {
  const last = Math.min(offset + PAGE_SIZE, total);
  return (
    <div class="pager">
      <button disabled={offset === 0} onClick={() => setQuery({ offset: Math.max(0, offset - PAGE_SIZE) })}>
        earlier
      </button>
      <span>
        {total === 0 ? "no target" : `${formatCount(offset + 1)}–${formatCount(last)} of ${formatCount(total)}`}
      </span>
      <button disabled={last >= total} onClick={() => setQuery({ offset: offset + PAGE_SIZE })}>
        later
      </button>
    </div>
  );
}

export function TargetSection({ jobs, now }: { jobs: Job[]; now: number }) {
  const page = targets.value;
  return (
    <section id="targets">
      <h2>Targets</h2>
      <Filters jobs={jobs} />
      {page && (
        <>
          <div class="scroll">
            <table data-testid="targets">
              <thead>
                <tr>
                  <th>endpoint</th>
                  <th>state</th>
                  <th>job</th>
                  <th class="number">last scrape</th>
                  <th class="number">took</th>
                  <th class="number">samples</th>
                  <th>last error</th>
                </tr>
              </thead>
              <tbody>
                {page.targets.map((target, i) => (
                  <TargetRows key={`${target.job} ${target.url} ${page.offset + i}`} target={target} now={now} />
                ))}
              </tbody>
            </table>
          </div>
          <Pager total={page.total} offset={page.offset} />
        </>
      )}
    </section>
  );
}
