import type { Job } from "./api";
import { formatCount, formatSeconds } from "./format";
import { query, setQuery } from "./state";

function showTargets(job: string): void {
  setQuery({ job, state: "", search: "" });
  document.getElementById("targets")?.scrollIntoView({ behavior: "smooth" });
}

/** A master only knows how many targets there are; `scraped` is false for it. */
export function JobSection({ jobs, scraped }: { jobs: Job[]; scraped: boolean }) {
  return (
    <section>
      <h2>Jobs</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th>job</th>
              <th>discovered by</th>
              {scraped && <th class="number">up</th>}
              {scraped && <th class="number">down</th>}
              <th class="number">{scraped ? "not yet" : "targets"}</th>
              <th class="number">dropped</th>
              <th class="number">errors</th>
              <th class="number">interval</th>
            </tr>
          </thead>
          <tbody>
            {jobs.map((job) => (
              <tr key={job.job} class={query.value.job === job.job ? "chosen" : ""}>
                <td>
                  <button class="link" onClick={() => showTargets(job.job)}>
                    {job.job}
                  </button>
                  {job.over_target_limit && <span class="badge bad">over target_limit</span>}
                </td>
                <td>{job.discovery.join(", ")}</td>
                {scraped && <td class="number">{formatCount(job.up)}</td>}
                {scraped && <td class={job.down > 0 ? "number bad" : "number"}>{formatCount(job.down)}</td>}
                <td class="number">{formatCount(job.unknown)}</td>
                <td class="number">{formatCount(job.dropped)}</td>
                <td class={job.errors > 0 ? "number bad" : "number"}>{formatCount(job.errors)}</td>
                <td class="number">{formatSeconds(job.interval_seconds)}</td>
              </tr>
            ))}
            {jobs.length === 0 && (
              <tr>
                <td colSpan={8}>The configuration has no scrape_configs.</td>
              </tr>
            )}
          </tbody>
        </table>
      </div>
    </section>
  );
}
