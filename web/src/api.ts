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

export interface Worker {
  name: string;
  zone: string;
  version: string;
  address: string;
  state: "connected" | "draining" | "unreachable" | "lost" | "expected";
  since_ms: number;
  targets: number;
  series: number;
  /** Its load as a share of what is its part, 1 when it has just that. */
  load: number;
  scrapes: number;
  failed_scrapes: number;
  skipped_ticks: number;
  lateness_seconds: number;
  queue_memory_bytes: number;
  queue_disk_bytes: number;
  lag_seconds: number;
  cpu_seconds: number;
  resident_bytes: number;
  clock_offset_ms: number;
  configuration_revision: string;
  configuration_error: string;
}

export interface Fleet {
  name: string;
  leading: boolean;
  epoch: number;
  leader: string;
  store_error: string | null;
  configuration_revision: string;
  workers_wanted: number;
  unassigned: number;
  /** Jobs whose targets are those of the last time, and how old they are. */
  last_known: { job: string; age_seconds: number }[];
  workers: Worker[];
}

export interface Assignment {
  worker: string;
  master: string | null;
  since_ms: number | null;
  epoch: number;
  /** Seconds since a master last confirmed what is scraped; null when none ever has. */
  confirmed_seconds: number | null;
  from_disk: boolean;
  targets: number;
  configuration_revision: string;
  configuration_error: string;
  save_error: string | null;
  last_error: string;
}

export interface Monitor {
  kind: string;
  namespace: string;
  name: string;
  error: string;
}

export interface Overview {
  now_ms: number;
  started_ms: number;
  version: string;
  role: "run" | "master" | "worker";
  ready: boolean;
  not_ready: string[];
  config_path: string;
  config_loaded_ms: number;
  config_error: string | null;
  samples_scraped: number;
  jobs: Job[];
  clusters: Cluster[];
  remote_write: Endpoint[];
  fleet: Fleet | null;
  assignment: Assignment | null;
  refused_monitors: Monitor[];
}

export type TargetState = "up" | "down" | "unknown" | "dropped" | "error";

export interface Target {
  job: string;
  state: TargetState;
  workers: string[];
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
