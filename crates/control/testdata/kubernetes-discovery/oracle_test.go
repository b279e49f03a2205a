// Generates golden.jsonl: see SOURCE.md.

package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	disv1 "k8s.io/api/discovery/v1"
	netv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

type marshaler interface{ Marshal() ([]byte, error) }

var r *rand.Rand

func pick(s ...string) string { return s[r.Intn(len(s))] }
func chance(n int) bool       { return r.Intn(n) == 0 }
func ptr[T any](v T) *T       { return &v }
func optional(s ...string) *string {
	if chance(2) {
		return nil
	}
	return ptr(pick(s...))
}
func optionalBool() *bool {
	switch r.Intn(3) {
	case 0:
		return nil
	case 1:
		return ptr(true)
	}
	return ptr(false)
}

func kv(prefix string) map[string]string {
	m := map[string]string{}
	for i := 0; i < r.Intn(3); i++ {
		m[prefix+pick("app", "app.kubernetes.io/name", "tier-x", "UPPER", "x_y")] = pick("", "web", "db", "ünï/code", "a b")
	}
	return m
}

func meta(ns, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: ns, UID: types.UID("uid-" + name), Labels: kv(""), Annotations: kv("note/")}
}

func owner(kind, name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "x/v1", Kind: kind, Name: name, Controller: optionalBool()}
}

var namespaces = []string{"default", "kube-system", "own-ns"}
var podNames = []string{"web-0", "web-1", "db-0", "job-1-abc", "lone"}
var nodeNames = []string{"node-a", "node-b", "node-c"}
var ports = []int32{80, 8080, 9090, 9100}

func containers(n int, prefix string) []v1.Container {
	var cs []v1.Container
	for i := 0; i < n; i++ {
		c := v1.Container{Name: fmt.Sprintf("%s%d", prefix, i), Image: pick("img:1", "img:2", "")}
		for j := 0; j < r.Intn(3); j++ {
			c.Ports = append(c.Ports, v1.ContainerPort{Name: pick("", "http", "metrics"), ContainerPort: ports[r.Intn(len(ports))], Protocol: v1.Protocol(pick("TCP", "UDP"))})
		}
		cs = append(cs, c)
	}
	return cs
}

func statuses(cs []v1.Container) []v1.ContainerStatus {
	var out []v1.ContainerStatus
	for _, c := range cs {
		if !chance(3) {
			out = append(out, v1.ContainerStatus{Name: c.Name, ContainerID: pick("", "containerd://"+c.Name)})
		}
	}
	return out
}

func targetRef() *v1.ObjectReference {
	switch r.Intn(6) {
	case 0:
		return nil
	case 1:
		return &v1.ObjectReference{Kind: "Node", Name: pick(nodeNames...)}
	default:
		return &v1.ObjectReference{Kind: "Pod", Namespace: pick(namespaces...), Name: pick(podNames...)}
	}
}

func generate() []runtime.Object {
	var objs []runtime.Object
	for _, n := range nodeNames {
		if chance(4) {
			continue
		}
		node := &v1.Node{ObjectMeta: meta("", n)}
		node.Spec.ProviderID = pick("", "cloud:///"+n)
		for i := 0; i < r.Intn(4); i++ {
			node.Status.Addresses = append(node.Status.Addresses, v1.NodeAddress{Type: v1.NodeAddressType(pick("InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname", "Odd.Type")), Address: pick("10.0.0.1", "fd00::1", "host.example", "10.0.0.2")})
		}
		for i := 0; i < r.Intn(3); i++ {
			node.Status.Conditions = append(node.Status.Conditions, v1.NodeCondition{Type: v1.NodeConditionType(pick("Ready", "DiskPressure", "some.Odd/Cond")), Status: v1.ConditionStatus(pick("True", "False", "Unknown"))})
		}
		node.Status.DaemonEndpoints.KubeletEndpoint.Port = []int32{0, 10250}[r.Intn(2)]
		objs = append(objs, node)
	}
	for _, ns := range namespaces {
		if !chance(4) {
			objs = append(objs, &v1.Namespace{ObjectMeta: meta("", ns)})
		}
		for _, name := range []string{"web-rs", "db-rs"} {
			if chance(3) {
				continue
			}
			rs := &appsv1.ReplicaSet{ObjectMeta: meta(ns, name)}
			rs.OwnerReferences = []metav1.OwnerReference{owner(pick("Deployment", "Rollout"), "dep-"+name)}
			objs = append(objs, rs)
		}
		if !chance(3) {
			job := &batchv1.Job{ObjectMeta: meta(ns, "job-1")}
			job.OwnerReferences = []metav1.OwnerReference{owner(pick("CronJob", "Workflow"), "cron-1")}
			objs = append(objs, job)
		}
		for _, name := range podNames {
			if chance(4) {
				continue
			}
			pod := &v1.Pod{ObjectMeta: meta(ns, name)}
			if !chance(3) {
				pod.OwnerReferences = []metav1.OwnerReference{owner(pick("ReplicaSet", "Job", "DaemonSet", ""), pick("web-rs", "db-rs", "job-1", ""))}
				if chance(3) {
					pod.OwnerReferences = append(pod.OwnerReferences, owner("Job", "job-1"))
				}
			}
			pod.Spec.NodeName = pick("", "node-a", "node-b", "node-c", "gone")
			pod.Spec.Containers = containers(1+r.Intn(3), "c")
			pod.Spec.InitContainers = containers(r.Intn(2), "init")
			pod.Status.PodIP = pick("", "10.1.0.1", "10.1.0.2", "fd00::2")
			pod.Status.HostIP = pick("", "10.0.0.1")
			pod.Status.Phase = v1.PodPhase(pick("Pending", "Running", "Succeeded", "Failed"))
			pod.Status.ContainerStatuses = statuses(pod.Spec.Containers)
			pod.Status.InitContainerStatuses = statuses(pod.Spec.InitContainers)
			for i := 0; i < r.Intn(2); i++ {
				pod.Status.Conditions = append(pod.Status.Conditions, v1.PodCondition{Type: v1.PodConditionType(pick("Ready", "Ready", "Initialized")), Status: v1.ConditionStatus(pick("True", "False", "Unknown"))})
			}
			objs = append(objs, pod)
		}
		for _, name := range []string{"web", "db"} {
			if !chance(5) {
				svc := &v1.Service{ObjectMeta: meta(ns, name)}
				svc.Spec.Type = v1.ServiceType(pick("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"))
				svc.Spec.ClusterIP = pick("None", "10.2.0.1")
				svc.Spec.ExternalName = pick("", "ext.example")
				svc.Spec.LoadBalancerIP = pick("", "192.0.2.1")
				for i := 0; i < r.Intn(3); i++ {
					svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, v1.LoadBalancerIngress{IP: pick("", "192.0.2.7", "192.0.2.8"), Hostname: pick("", "lb.example")})
				}
				for i := 0; i < r.Intn(3); i++ {
					svc.Spec.Ports = append(svc.Spec.Ports, v1.ServicePort{Name: pick("", "http", "metrics"), Port: ports[r.Intn(len(ports))], Protocol: v1.Protocol(pick("TCP", "UDP"))})
				}
				switch r.Intn(4) {
				case 0:
					svc.Spec.IPFamilyPolicy = ptr(v1.IPFamilyPolicyPreferDualStack)
					svc.Spec.IPFamilies = []v1.IPFamily{"IPv4", "IPv6"}
				case 1:
					svc.Spec.IPFamilyPolicy = ptr(v1.IPFamilyPolicyRequireDualStack)
					svc.Spec.IPFamilies = []v1.IPFamily{"IPv6", "IPv4"}
				case 2:
					svc.Spec.IPFamilyPolicy = ptr(v1.IPFamilyPolicySingleStack)
					svc.Spec.IPFamilies = []v1.IPFamily{"IPv4"}
				}
				objs = append(objs, svc)
			}
			if !chance(4) {
				ep := &v1.Endpoints{ObjectMeta: meta(ns, name)}
				for i := 0; i < r.Intn(3); i++ {
					ss := v1.EndpointSubset{}
					for j := 0; j < 1+r.Intn(3); j++ {
						a := v1.EndpointAddress{IP: pick("10.1.0.1", "10.1.0.2", "fd00::2", "10.9.9.9"), Hostname: pick("", "h1"), NodeName: optional(append(nodeNames, "gone")...), TargetRef: targetRef()}
						if chance(3) {
							ss.NotReadyAddresses = append(ss.NotReadyAddresses, a)
						} else {
							ss.Addresses = append(ss.Addresses, a)
						}
					}
					for j := 0; j < r.Intn(3); j++ {
						ss.Ports = append(ss.Ports, v1.EndpointPort{Name: pick("", "http"), Port: ports[r.Intn(len(ports))], Protocol: v1.Protocol(pick("TCP", "UDP"))})
					}
					ep.Subsets = append(ep.Subsets, ss)
				}
				objs = append(objs, ep)
			}
			for s := 0; s < r.Intn(3); s++ {
				es := &disv1.EndpointSlice{ObjectMeta: meta(ns, fmt.Sprintf("%s-%d", name, s))}
				if !chance(5) {
					es.Labels["kubernetes.io/service-name"] = name
				}
				es.AddressType = disv1.AddressType(pick("IPv4", "IPv6", "FQDN"))
				for j := 0; j < r.Intn(4); j++ {
					e := disv1.Endpoint{Hostname: optional("h1"), NodeName: optional(append(nodeNames, "gone")...), Zone: optional("zone-1"), TargetRef: targetRef()}
					for k := 0; k < 1+r.Intn(2); k++ {
						e.Addresses = append(e.Addresses, pick("10.1.0.1", "10.1.0.2", "fd00::2", "a.example"))
					}
					e.Conditions = disv1.EndpointConditions{Ready: optionalBool(), Serving: optionalBool(), Terminating: optionalBool()}
					if chance(3) {
						e.DeprecatedTopology = map[string]string{"topology.kubernetes.io/zone": pick("z1", "z2")}
					}
					es.Endpoints = append(es.Endpoints, e)
				}
				for j := 0; j < r.Intn(3); j++ {
					p := disv1.EndpointPort{Name: optional("", "http"), AppProtocol: optional("http2")}
					if !chance(4) {
						p.Port = ptr(ports[r.Intn(len(ports))])
					}
					if !chance(4) {
						p.Protocol = ptr(v1.Protocol(pick("TCP", "UDP")))
					}
					es.Ports = append(es.Ports, p)
				}
				objs = append(objs, es)
			}
			if !chance(3) {
				ing := &netv1.Ingress{ObjectMeta: meta(ns, name)}
				ing.Spec.IngressClassName = optional("nginx")
				for j := 0; j < r.Intn(3); j++ {
					ing.Spec.TLS = append(ing.Spec.TLS, netv1.IngressTLS{Hosts: []string{pick("a.example.com", "*.example.com", "*")}})
				}
				for j := 0; j < r.Intn(3); j++ {
					rule := netv1.IngressRule{Host: pick("a.example.com", "b.example.com", "x.y.example.com", "", "plain")}
					if !chance(4) {
						rule.HTTP = &netv1.HTTPIngressRuleValue{}
						for k := 0; k < r.Intn(3); k++ {
							rule.HTTP.Paths = append(rule.HTTP.Paths, netv1.HTTPIngressPath{Path: pick("", "/", "/a")})
						}
					}
					ing.Spec.Rules = append(ing.Spec.Rules, rule)
				}
				objs = append(objs, ing)
			}
		}
	}
	return objs
}

type oracleCase struct {
	Role       string           `json:"role"`
	Namespaces []string         `json:"namespaces,omitempty"`
	Own        bool             `json:"own_namespace,omitempty"`
	Selectors  []SelectorConfig `json:"selectors,omitempty"`
	Attach     []string         `json:"attach,omitempty"`
	Groups     []oracleGroup    `json:"groups"`
}
type oracleGroup struct {
	Source  string              `json:"source"`
	Labels  map[string]string   `json:"labels"`
	Targets []map[string]string `json:"targets"`
}
type oracleObject struct {
	Kind  string `json:"kind"`
	Proto []byte `json:"proto"`
}
type oracleCluster struct {
	Objects []oracleObject `json:"objects"`
	Cases   []oracleCase   `json:"cases"`
}

func run(c *oracleCase, objs []runtime.Object) {
	clientset := fake.NewClientset(objs...)
	reg := prometheus.NewRegistry()
	metrics := newDiscovererMetrics(reg, discovery.NewRefreshMetrics(reg))
	if err := metrics.Register(); err != nil {
		panic(err)
	}
	d := &Discovery{client: clientset, logger: promslog.NewNopLogger(), role: Role(c.Role),
		namespaceDiscovery: &NamespaceDiscovery{IncludeOwnNamespace: c.Own, Names: append([]string{}, c.Namespaces...)},
		ownNamespace:       "own-ns", metrics: metrics.(*kubernetesMetrics), selectors: mapSelector(c.Selectors)}
	for _, a := range c.Attach {
		switch a {
		case "node":
			d.attachMetadata.Node = true
		case "namespace":
			d.attachMetadata.Namespace = true
		case "deployment":
			d.attachMetadata.Deployment = true
		case "job":
			d.attachMetadata.Job = true
		case "cronjob":
			d.attachMetadata.CronJob = true
		}
	}
	ch := make(chan []*targetgroup.Group)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go d.Run(ctx, ch)
	found := map[string]*targetgroup.Group{}
	for done := false; !done; {
		select {
		case tgs := <-ch:
			for _, tg := range tgs {
				found[tg.Source] = tg
			}
		case <-time.After(700 * time.Millisecond):
			done = true
		}
	}
	for _, tg := range found {
		if len(tg.Targets) == 0 {
			continue
		}
		g := oracleGroup{Source: tg.Source, Labels: map[string]string{}}
		for k, v := range tg.Labels {
			if v != "" {
				g.Labels[string(k)] = string(v)
			}
		}
		for _, t := range tg.Targets {
			m := map[string]string{}
			for k, v := range t {
				if v != "" {
					m[string(k)] = string(v)
				}
			}
			g.Targets = append(g.Targets, m)
		}
		c.Groups = append(c.Groups, g)
	}
	sort.Slice(c.Groups, func(i, j int) bool { return c.Groups[i].Source < c.Groups[j].Source })
}

func TestOracle(t *testing.T) {
	os.Setenv("KUBE_FEATURE_WatchListClient", "false")
	var all []oracleCluster
	var seed int64
	for seed = 1; seed <= 6; seed++ {
		r = rand.New(rand.NewSource(seed))
		objs := generate()
		cl := oracleCluster{}
		for _, o := range objs {
			b, err := o.(marshaler).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			cl.Objects = append(cl.Objects, oracleObject{Kind: fmt.Sprintf("%T", o)[len("*v1."):], Proto: b})
		}
		for _, role := range []string{"node", "pod", "service", "endpoints", "endpointslice", "ingress"} {
			cases := []oracleCase{{Role: role}}
			c := oracleCase{Role: role, Attach: []string{"node", "namespace", "deployment", "job", "cronjob"}}
			switch role {
			case "node":
				c = oracleCase{Role: role, Selectors: []SelectorConfig{{Role: RoleNode, Label: "UPPER"}}}
			case "service", "ingress":
				c.Attach = []string{"namespace"}
			}
			cases = append(cases, c)
			if role != "node" && seed%2 == 0 {
				cases = append(cases, oracleCase{Role: role, Namespaces: []string{"default"}, Own: true})
			}
			switch role {
			case "pod":
				cases = append(cases, oracleCase{Role: role, Attach: []string{"node"}, Selectors: []SelectorConfig{{Role: RoleNode, Label: "!app"}, {Role: RolePod, Label: "app in (web, db)"}}})
			case "endpoints", "endpointslice":
				cases = append(cases, oracleCase{Role: role, Attach: []string{"node"}, Selectors: []SelectorConfig{{Role: RolePod, Label: "!app"}, {Role: RoleService, Label: "app!=web"}}})
				cases = append(cases, oracleCase{Role: role, Selectors: []SelectorConfig{{Role: Role(role), Label: "!x_y"}}})
			case "service", "ingress":
				cases = append(cases, oracleCase{Role: role, Selectors: []SelectorConfig{{Role: Role(role), Label: "!UPPER,app!=db"}}})
			}
			for i := range cases {
				run(&cases[i], objs)
			}
			cl.Cases = append(cl.Cases, cases...)
		}
		all = append(all, cl)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv("ORACLE_OUT"), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
