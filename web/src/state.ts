import { signal } from "@preact/signals";
import { fetchOverview, fetchTargets, type Overview, type TargetPage, type TargetQuery } from "./api";

export const PAGE_SIZE = 100;
const REFRESH_MS = 2000;

export const overview = signal<Overview | null>(null);
/** Samples scraped a second between the last two answers. */
export const sampleRate = signal<number | null>(null);
/** Why the last request failed; what is shown is then as old as `overview.now_ms`. */
export const failure = signal<string | null>(null);
export const targets = signal<TargetPage | null>(null);
export const query = signal<TargetQuery>({ job: "", state: "", search: "", offset: 0, limit: PAGE_SIZE });

async function refreshOverview(): Promise<void> {
  const next = await fetchOverview();
  const last = overview.value;
  if (last && last.started_ms === next.started_ms && next.now_ms > last.now_ms) {
    sampleRate.value = ((next.samples_scraped - last.samples_scraped) * 1000) / (next.now_ms - last.now_ms);
  }
  overview.value = next;
}

async function refreshTargets(): Promise<void> {
  const asked = query.value;
  const page = await fetchTargets(asked);
  if (asked === query.value) targets.value = page;
}

export async function refresh(): Promise<void> {
  try {
    await Promise.all([refreshOverview(), refreshTargets()]);
    failure.value = null;
  } catch (error) {
    failure.value = error instanceof Error ? error.message : String(error);
  }
}

export function setQuery(change: Partial<TargetQuery>): void {
  query.value = { ...query.value, offset: 0, ...change };
  void refresh();
}

export function startRefreshing(): void {
  const tick = async () => {
    if (!document.hidden) await refresh();
    setTimeout(tick, REFRESH_MS);
  };
  document.addEventListener("visibilitychange", () => void (document.hidden || refresh()));
  void tick();
}
