// What the server answers; the Rust side is crates/outrigger/src/page_api.rs.

export type Labels = Record<string, string>;

export interface Job {
  job: string;
  discovery: string[];
  up: number;
  down: number;
  unknown: number;
  dropped: number;
  errors: number;
  over_target_limit: boolean;
  interval_seconds: number;
}

export interface Watch {
  resource: string;
  scope: string;
  phase: string;
  synced: boolean;
  objects: number;
  memory_bytes: number;
  last_event_ms: number | null;
  resource_version: string;
  events: number;
  received_bytes: number;
  relists: number;
  reconnects: number;
  last_error: string | null;
  missing_permission: string | null;
}

export interface RequestCount {
  request: string;
  resource: string;
  code: string;
  count: number;
}

export interface Cluster {
  name: string;
  server: string;
  error: string | null;
  watches: Watch[];
  requests: RequestCount[];
}

export interface Endpoint {
  name: string;
  url: string;
  pending_samples: number;
  pending_bytes: number;
  capacity_bytes: number;
  lag_seconds: number;
  shards: number;
  sent: number;
  retried: number;
  dropped: number;
  last_error: string | null;
  last_success_ms: number | null;
}

export interface Overview {
  now_ms: number;
  started_ms: number;
  version: string;
  ready: boolean;
  not_ready: string[];
  config_path: string;
  config_loaded_ms: number;
  config_error: string | null;
  samples_scraped: number;
  jobs: Job[];
  clusters: Cluster[];
  remote_write: Endpoint[];
}

export type TargetState = "up" | "down" | "unknown" | "dropped" | "error";

export interface Target {
  job: string;
  state: TargetState;
  url: string;
  labels: Labels;
  discovered: Labels;
  last_error: string;
  last_scrape_ms: number | null;
  last_duration_seconds: number;
  samples: number;
}

export interface TargetPage {
  total: number;
  offset: number;
  targets: Target[];
}

export interface TargetQuery {
  job: string;
  state: string;
  search: string;
  offset: number;
  limit: number;
}

const TIMEOUT_MS = 5000;

async function get<T>(path: string): Promise<T> {
  const response = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return (await response.json()) as T;
}

export const fetchOverview = () => get<Overview>("api/outrigger/v1/overview");

export const fetchTargets = (query: TargetQuery) =>
  get<TargetPage>(
    `api/outrigger/v1/targets?${new URLSearchParams({
      job: query.job,
      state: query.state,
      search: query.search,
      offset: String(query.offset),
      limit: String(query.limit),
    })}`,
  );
