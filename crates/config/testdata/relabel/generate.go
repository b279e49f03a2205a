// Prints what Prometheus makes of relabelling rules, one JSON object a line. See SOURCE.md.
//
//	go run generate.go -random 300 -seed 1 > cases.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"math/rand"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"
)

type rule map[string]any

// Rules are written as in the configuration file; Error is of the first rule that is refused.
type row struct {
	Rules  []rule            `json:"rules"`
	Legacy bool              `json:"legacy,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Error  string            `json:"error,omitempty"`
	Kept   bool              `json:"kept,omitempty"`
	Output map[string]string `json:"output,omitempty"`
}

var rich = map[string]string{
	"a": "foo", "b": "bar", "c": "baz", "b1": "one", "b2": "two", "name": "some-Name-0", "mixed": "bAr123Foo ßΣİǆ", "lines": "line1\nline2",
	"__address__": "10.0.0.1:8080", "__meta_kubernetes_pod_label_app": "web", "__meta_kubernetes_pod_label_tier": "front", "__meta_my": "x",
	"__port1": "1234", "__port2": "5678", "__tmp_port": "1234", "utf-8.label": "dots", "é": "accent", "job": "j",
}

var written = [][]rule{
	{}, {{}}, {{"action": "replace"}}, {{"action": nil}}, {{"action": ""}}, {{"action": "Keep", "source_labels": []string{"a"}, "regex": "foo"}}, {{"action": "KEEP"}}, {{"action": "kept"}}, {{"action": " keep"}},
	{{"source_labels": []string{"a"}, "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch${1}"}},
	{{"source_labels": []string{"a", "b"}, "regex": "f(.*);(.*)r", "target_label": "a", "replacement": "b${1}${2}m"}, {"source_labels": []string{"c", "a"}, "regex": "(b).*b(.*)ba(.*)", "target_label": "d", "replacement": "$1$2$2$3"}},
	{{"source_labels": []string{"a"}, "regex": ".*o.*", "action": "drop"}, {"target_label": "never", "replacement": "x"}},
	{{"source_labels": []string{"a"}, "regex": "no", "action": "drop"}}, {{"source_labels": []string{"a"}, "regex": "f|o", "action": "drop"}}, {{"source_labels": []string{"a"}, "regex": "fo", "action": "keep"}}, {{"source_labels": []string{"a"}, "regex": "f.*", "action": "keep"}}, {{"action": "keep"}}, {{"action": "drop"}}, {{"action": "drop", "regex": ""}}, {{"action": "keep", "regex": ""}}, {{"action": "keep", "regex": nil, "source_labels": []string{"a"}}}, {{"action": "drop", "source_labels": []string{"missing"}}},
	{{"source_labels": []string{"a"}, "regex": "f", "target_label": "b", "replacement": "bar"}}, {{"source_labels": []string{"a"}, "regex": "(f).*", "target_label": "$1", "replacement": "$2"}}, {{"source_labels": []string{"a"}, "regex": "(foo)", "target_label": "b", "replacement": "$2"}},
	{{"target_label": "x", "replacement": "set"}}, {{"target_label": "a", "replacement": ""}}, {{"target_label": "x", "source_labels": []string{"missing"}, "replacement": "set"}}, {{"target_label": "x", "source_labels": []string{"missing"}}}, {{"target_label": "a", "source_labels": []string{"missing"}}}, {{"target_label": "a", "regex": "(.+)", "source_labels": []string{"missing"}}}, {{"target_label": "a", "regex": nil, "replacement": "set"}}, {{"target_label": "a", "regex": "", "replacement": "set", "source_labels": []string{"b"}}}, {{"target_label": "x", "separator": nil, "source_labels": []string{"a", "b"}}}, {{"target_label": "x", "separator": "", "source_labels": []string{"a", "b"}}}, {{"target_label": "x", "separator": "$1", "source_labels": []string{"a", "b"}}}, {{"target_label": "x", "replacement": nil, "source_labels": []string{"a"}}},
	{{"target_label": "x", "source_labels": []string{"a"}, "replacement": "$1foo"}}, {{"target_label": "x", "source_labels": []string{"a"}, "replacement": "${1}foo"}}, {{"target_label": "x", "source_labels": []string{"a"}, "replacement": "$$1"}}, {{"target_label": "x", "source_labels": []string{"a"}, "replacement": "$"}}, {{"target_label": "x", "source_labels": []string{"a"}, "replacement": "${1"}}, {{"target_label": "x", "source_labels": []string{"a"}, "regex": "(?P<n>f)(?<m>.*)", "replacement": "$n-${m}-$nm"}},
	{{"action": "hashmod", "source_labels": []string{"c"}, "target_label": "d", "modulus": 1000}}, {{"action": "hashmod", "source_labels": []string{"lines"}, "target_label": "d", "modulus": 1000}}, {{"action": "hashmod", "source_labels": []string{"a", "é"}, "target_label": "d", "modulus": 18446744073709551615 >> 1}}, {{"action": "hashmod", "target_label": "d", "modulus": 7}}, {{"action": "hashmod", "target_label": "d"}}, {{"action": "hashmod", "modulus": 3}}, {{"action": "hashmod", "modulus": 3, "target_label": "d", "replacement": "x", "regex": "nope"}}, {{"action": "hashmod", "modulus": 3, "target_label": "d.x"}}, {{"action": "hashmod", "modulus": 3, "target_label": "$1"}},
	{{"action": "labelmap", "regex": "(b.*)", "replacement": "bar_${1}"}}, {{"action": "labelmap", "regex": "__meta_kubernetes_pod_label_(.+)"}}, {{"action": "labelmap", "regex": "b(.)", "replacement": "b1$1"}}, {{"action": "labelmap", "regex": "(a)|b", "replacement": "x$1"}}, {{"action": "labelmap", "replacement": ""}}, {{"action": "labelmap", "replacement": nil}}, {{"action": "labelmap", "replacement": "a-b", "regex": "a"}}, {{"action": "labelmap", "replacement": "-${1}-"}}, {{"action": "labelmap", "replacement": "${"}}, {{"action": "labelmap", "regex": "a)|(?:b1", "replacement": "z"}}, {{"action": "labelmap", "regex": "(utf.*)", "replacement": "${1}"}},
	{{"action": "labeldrop", "regex": "b.*"}}, {{"action": "labelkeep", "regex": "b.*"}}, {{"action": "labelkeep", "regex": "^b1$"}}, {{"action": "labeldrop"}}, {{"action": "labelkeep"}}, {{"action": "labeldrop", "regex": "__meta_.+"}}, {{"action": "labeldrop", "source_labels": []string{"a"}}}, {{"action": "labeldrop", "source_labels": []string{}}}, {{"action": "labeldrop", "source_labels": nil}}, {{"action": "labeldrop", "target_label": "x"}}, {{"action": "labeldrop", "modulus": 1}}, {{"action": "labeldrop", "modulus": 0}}, {{"action": "labeldrop", "separator": ";"}}, {{"action": "labeldrop", "separator": ""}}, {{"action": "labelkeep", "replacement": "x"}}, {{"action": "labelkeep", "replacement": "$1"}}, {{"action": "labelkeep", "separator": ","}}, {{"action": "labelkeep", "target_label": ""}},
	{{"action": "lowercase", "source_labels": []string{"mixed"}, "target_label": "x"}}, {{"action": "uppercase", "source_labels": []string{"mixed"}, "target_label": "x"}}, {{"action": "uppercase", "source_labels": []string{"missing"}, "target_label": "a"}}, {{"action": "lowercase", "source_labels": []string{"a"}}}, {{"action": "lowercase", "target_label": "${3}"}}, {{"action": "uppercase", "target_label": "x", "replacement": "y"}}, {{"action": "uppercase", "target_label": "x", "replacement": ""}}, {{"action": "uppercase", "target_label": "x", "regex": "never", "source_labels": []string{"a"}}}, {{"action": "lowercase", "target_label": "0x"}},
	{{"action": "keepequal", "source_labels": []string{"__tmp_port"}, "target_label": "__port1"}}, {{"action": "keepequal", "source_labels": []string{"__tmp_port"}, "target_label": "__port2"}}, {{"action": "dropequal", "source_labels": []string{"__tmp_port"}, "target_label": "__port1"}}, {{"action": "dropequal", "source_labels": []string{"__tmp_port"}, "target_label": "__port2"}}, {{"action": "keepequal", "target_label": "missing"}}, {{"action": "dropequal", "source_labels": []string{"a", "b"}, "target_label": "c"}}, {{"action": "keepequal"}}, {{"action": "keepequal", "target_label": "a", "regex": "(.*)"}}, {{"action": "keepequal", "target_label": "a", "regex": "x"}}, {{"action": "keepequal", "target_label": "a", "modulus": 1}}, {{"action": "keepequal", "target_label": "a", "modulus": 0, "separator": ";", "replacement": "$1"}}, {{"action": "dropequal", "target_label": "a", "separator": ","}}, {{"action": "dropequal", "target_label": "a", "replacement": "x"}}, {{"action": "dropequal", "target_label": "a", "regex": nil}}, {{"action": "dropequal", "target_label": "a.b"}},
	{{"source_labels": []string{"name"}, "regex": "some-([^-]+)-([^,]+)", "target_label": "${1}", "replacement": "${2}"}}, {{"source_labels": []string{"name"}, "regex": "some-([^-]+)-([^,]+)", "target_label": "${1}", "replacement": "${3}"}}, {{"source_labels": []string{"name"}, "regex": "some-([^-]+)(-[^,]+)", "target_label": "${3}", "replacement": "${1}"}}, {{"source_labels": []string{"name"}, "regex": "some-([^-]+)(-[^,]+)", "target_label": "${2}", "replacement": "${1}"}}, {{"source_labels": []string{"name"}, "target_label": "0${3}"}}, {{"source_labels": []string{"name"}, "target_label": "-${3}"}}, {{"source_labels": []string{"a"}, "target_label": "foo${1}bar"}}, {{"source_labels": []string{"a"}, "target_label": "bar.foo${1}bar"}}, {{"source_labels": []string{"a"}, "target_label": "_${1}_"}}, {{"source_labels": []string{"a"}, "target_label": "foo${"}}, {{"source_labels": []string{"a"}, "target_label": "$"}}, {{"source_labels": []string{"a"}, "target_label": "${}"}}, {{"source_labels": []string{"a"}, "target_label": "asd$2asd"}}, {{"source_labels": []string{"a"}, "target_label": "-label"}}, {{"source_labels": []string{"a"}, "target_label": "utf-8.new"}}, {{"source_labels": []string{"a"}, "target_label": "x y"}}, {{"source_labels": []string{"utf-8.label"}, "target_label": "d"}}, {{"source_labels": []string{"utf-8.label"}, "target_label": "d${1}.x"}},
	{{"source_labels": []string{"lines"}, "regex": "line1.*line2", "target_label": "d", "replacement": "match${1}"}}, {{"source_labels": []string{"lines"}, "regex": "(line1).*(?<second>line2)", "target_label": "l_$1", "replacement": "val_$second"}}, {{"source_labels": []string{"lines"}, "regex": "(?-s)line1.line2", "action": "keep"}},
	{{"source_labels": []string{""}, "target_label": "x"}}, {{"source_labels": []string{"a", ""}, "target_label": "x"}}, {{"source_labels": []string{"0 bad"}, "target_label": "x"}}, {{"target_label": nil}}, {{"target_label": ""}}, {{"regex": "(a", "target_label": "x"}}, {{"regex": "a**", "target_label": "x"}}, {{"regex": "a{1001}", "action": "keep"}}, {{"regex": `\u0041`, "action": "drop"}}, {{"modulus": 5, "target_label": "x", "source_labels": []string{"a"}}},
	{{"source_labels": []string{"__address__", "__port2"}, "regex": `([^:]+)(?::\d+)?;(\d+)`, "target_label": "__address__", "replacement": "$1:$2"}}, {{"action": "labeldrop", "regex": "^job$"}, {"source_labels": []string{"a"}, "regex": "(.+)", "target_label": "job", "replacement": "again"}, {"source_labels": []string{"job"}, "regex": "^again$", "action": "keep"}}, {{"target_label": "job", "replacement": ""}, {"action": "keep", "source_labels": []string{"job"}, "regex": ""}},
}

func main() {
	count := flag.Int("random", 300, "random rule lists besides the written ones")
	seed := flag.Int64("seed", 1, "seed of the random rule lists")
	flag.Parse()
	random := rand.New(rand.NewSource(*seed))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for _, rules := range written {
		utf8 := judge(rules, false, rich)
		legacy := judge(rules, true, rich)
		emit(encoder, utf8)
		if legacy.Error != utf8.Error || len(legacy.Output) != len(utf8.Output) {
			emit(encoder, legacy)
		}
	}
	for i := 0; i < *count; i++ {
		emit(encoder, judge(randomRules(random), random.Intn(4) == 0, randomLabels(random)))
	}
}

func emit(encoder *json.Encoder, result row) {
	if err := encoder.Encode(result); err != nil {
		panic(err)
	}
}

func judge(rules []rule, legacy bool, in map[string]string) row {
	result := row{Rules: rules, Legacy: legacy}
	scheme := model.UTF8Validation
	if legacy {
		scheme = model.LegacyValidation
	}
	var configs []*relabel.Config
	for _, written := range rules {
		text, err := json.Marshal(written)
		if err != nil {
			panic(err)
		}
		config := &relabel.Config{}
		if err = yaml.UnmarshalStrict(text, config); err == nil {
			err = config.Validate(scheme)
		}
		if err != nil {
			result.Error = err.Error()
			return result
		}
		configs = append(configs, config)
	}
	result.Labels = in
	builder := labels.NewBuilder(labels.FromMap(in))
	if result.Kept = relabel.ProcessBuilder(builder, configs...); result.Kept {
		result.Output = builder.Labels().Map()
	}
	return result
}

var names = []string{"a", "b", "ab", "b1", "__meta_x", "__meta_y", "job", "a.b", "é"}
var values = []string{"foo", "Bar", "foo-1", "1", "a;b", "x\ny", "É", "foo;Bar", "b", "a"}
var patterns = []string{"(.*)", "(.+)", "foo", "foo|Bar", "(foo|Bar)", "f(.*)", "(.*)-(.*)", "([a-z]+)[;-]?(.*)", ".*1", "", "(?i)bar", `\w+`, "__meta_(.+)", "(a|b)(.*)", "[^;]*;(.*)", "(?P<n>.)(.*)", "b.*"}
var replacements = []string{"$1", "${1}", "x", "", "$2", "p_$1", "${2}_$1", "${n}", "$0", "a"}
var targets = []string{"a", "b", "new", "$1", "t_${2}", "a.b", "${n}x", "job"}
var actions = []string{"replace", "replace", "replace", "keep", "drop", "hashmod", "labeldrop", "labelkeep", "lowercase", "uppercase", "keepequal", "dropequal", "labelmap"}

func pick(random *rand.Rand, list []string) string { return list[random.Intn(len(list))] }

func randomLabels(random *rand.Rand) map[string]string {
	out := map[string]string{}
	for i, n := 0, random.Intn(6); i < n; i++ {
		out[pick(random, names)] = pick(random, values)
	}
	return out
}

func randomRules(random *rand.Rand) []rule {
	var rules []rule
	for i, n := 0, 1+random.Intn(3); i < n; i++ {
		action := pick(random, actions)
		written := rule{}
		if action != "replace" || random.Intn(2) == 0 {
			written["action"] = action
		}
		maybe := func(odds int, key string, value any) {
			if random.Intn(100) < odds {
				written[key] = value
			}
		}
		sources := []string{pick(random, names)}
		if random.Intn(3) == 0 {
			sources = append(sources, pick(random, names))
		}
		labelAction := action == "labeldrop" || action == "labelkeep"
		equal := action == "keepequal" || action == "dropequal"
		if !labelAction && action != "labelmap" {
			maybe(85, "source_labels", sources)
		}
		if !equal {
			maybe(60, "regex", pick(random, patterns))
		}
		switch action {
		case "replace":
			maybe(95, "target_label", pick(random, targets))
			maybe(60, "replacement", pick(random, replacements))
			maybe(20, "separator", pick(random, []string{"", "-", ";"}))
		case "labelmap":
			// Only one label can map to a name here: which of two wins depends on the builder's history in Prometheus.
			written["regex"] = pick(random, []string{"(.+)", "__meta_(.+)", "(a.*)", "(.*b)", "b(.+)?"})
			written["replacement"] = pick(random, []string{"m_${1}", "x$1", "${1}_y", "n.$1"})
		case "hashmod":
			maybe(95, "modulus", 1+random.Intn(1000))
			maybe(95, "target_label", pick(random, names))
		case "lowercase", "uppercase", "keepequal", "dropequal":
			maybe(95, "target_label", pick(random, names))
		}
		maybe(2, "separator", "!")
		rules = append(rules, written)
	}
	return rules
}
