import { render } from "preact";
import { ClusterSection } from "./cluster";
import { AssignmentSection, FleetSection, MonitorSection } from "./fleet";
import { JobSection } from "./jobs";
import { RemoteWriteSection } from "./remote_write";
import { failure, overview, startRefreshing } from "./state";
import { StatusBar, Summary } from "./summary";
import { TargetSection } from "./targets";
import "./page.css";

function Page() {
  const data = overview.value;
  if (!data) {
    return <main class="waiting">{failure.value ? `No answer: ${failure.value}` : "Loading…"}</main>;
  }
  return (
    <>
      <StatusBar data={data} failure={failure.value} />
      <main>
        <Summary data={data} />
        {data.fleet && <FleetSection fleet={data.fleet} now={data.now_ms} />}
        {data.assignment && <AssignmentSection assignment={data.assignment} now={data.now_ms} />}
        {data.refused_monitors.length > 0 && <MonitorSection monitors={data.refused_monitors} />}
        <JobSection jobs={data.jobs} scraped={data.role !== "master"} />
        {data.clusters.map((cluster) => (
          <ClusterSection key={`${cluster.name} ${cluster.server}`} cluster={cluster} now={data.now_ms} />
        ))}
        {data.role !== "master" && <RemoteWriteSection endpoints={data.remote_write} now={data.now_ms} />}
        <TargetSection now={data.now_ms} jobs={data.jobs} />
      </main>
    </>
  );
}

const root = document.getElementById("page");
if (root) {
  render(<Page />, root);
  startRefreshing();
}
