// Prints what Prometheus' parsers make of OpenMetrics, protobuf and text bodies, one JSON object a line. See
// SOURCE.md.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/gogo/protobuf/proto"
	"github.com/gogo/protobuf/types"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
)

// Texts hold one character (U+0000 to U+00FF) for each byte, so that they can carry any bytes.
type row struct {
	Name    string `json:"name,omitempty"`
	Should  *bool  `json:"shouldParse,omitempty"` // what the standard says
	Format  string `json:"format"`
	Options string `json:"options,omitempty"`
	Body    string `json:"body,omitempty"`
	Entries []any  `json:"entries,omitempty"`
	Error   string `json:"error,omitempty"`
}

var types_ = map[string]string{
	"openmetrics": "application/openmetrics-text; version=1.0.0",
	"protobuf":    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
	"text":        "text/plain; version=0.0.4",
}

func latin(bytes []byte) string {
	runes := make([]rune, len(bytes))
	for i, b := range bytes {
		runes[i] = rune(b)
	}
	return string(runes)
}

func bits(value float64) string { return fmt.Sprintf("%016x", math.Float64bits(value)) }

func time(timestamp *int64) any {
	if timestamp == nil {
		return nil
	}
	return *timestamp
}

func pairs(set labels.Labels) []string {
	all := []string{}
	set.Range(func(label labels.Label) {
		all = append(all, latin([]byte(label.Name)), latin([]byte(label.Value)))
	})
	return all
}

func spans(list []histogram.Span) []any {
	all := []any{}
	for _, span := range list {
		all = append(all, span.Offset, span.Length)
	}
	return all
}

func floats(list []float64) []string {
	all := []string{}
	for _, value := range list {
		all = append(all, bits(value))
	}
	return all
}

func ints(list []int64) []int64 { return append([]int64{}, list...) }

// What scrape/target.go makes of a histogram under a bucket factor that allows one schema less and a limit of two
// buckets.
func limited(h *histogram.Histogram, fh *histogram.FloatHistogram) any {
	const limit = 2
	if h != nil {
		h = h.Copy()
		if histogram.IsExponentialSchemaReserved(h.Schema) && h.ReduceResolution(h.Schema-1) != nil {
			return "error"
		}
		for len(h.PositiveBuckets)+len(h.NegativeBuckets) > limit {
			if !histogram.IsExponentialSchema(h.Schema) || h.Schema == histogram.ExponentialSchemaMin || h.ReduceResolution(h.Schema-1) != nil {
				return "error"
			}
		}
	} else {
		fh = fh.Copy()
		if histogram.IsExponentialSchemaReserved(fh.Schema) && fh.ReduceResolution(fh.Schema-1) != nil {
			return "error"
		}
		for len(fh.PositiveBuckets)+len(fh.NegativeBuckets) > limit {
			if !histogram.IsExponentialSchema(fh.Schema) || fh.Schema == histogram.ExponentialSchemaMin || fh.ReduceResolution(fh.Schema-1) != nil {
				return "error"
			}
		}
	}
	return dumpHistogram(h, fh)
}

func dumpHistogram(h *histogram.Histogram, fh *histogram.FloatHistogram) any {
	if h != nil {
		return []any{"i", h.Schema, bits(h.ZeroThreshold), fmt.Sprint(h.ZeroCount), fmt.Sprint(h.Count), bits(h.Sum), int(h.CounterResetHint), spans(h.PositiveSpans), ints(h.PositiveBuckets), spans(h.NegativeSpans), ints(h.NegativeBuckets), floats(h.CustomValues), h.Validate() == nil}
	}
	return []any{"f", fh.Schema, bits(fh.ZeroThreshold), bits(fh.ZeroCount), bits(fh.Count), bits(fh.Sum), int(fh.CounterResetHint), spans(fh.PositiveSpans), floats(fh.PositiveBuckets), spans(fh.NegativeSpans), floats(fh.NegativeBuckets), floats(fh.CustomValues), fh.Validate() == nil}
}

// The exemplars that the agent's storage accepts, but for comparing with the last one; those of native histograms
// need a time (scrape.go).
func exemplars(parser textparse.Parser, native bool) []any {
	all := []any{}
	for {
		var e exemplar.Exemplar
		if !parser.Exemplar(&e) {
			return all
		}
		set := e.Labels.WithoutEmpty()
		_, twice := set.HasDuplicateLabelNames()
		length := 0
		set.Range(func(label labels.Label) {
			length += utf8.RuneCountInString(label.Name) + utf8.RuneCountInString(label.Value)
		})
		if twice || length > exemplar.ExemplarMaxLabelSetLength || (native && !e.HasTs) {
			continue
		}
		var timestamp any
		if e.HasTs {
			timestamp = e.Ts
		}
		all = append(all, []any{pairs(set), bits(e.Value), timestamp})
	}
}

func judge(format, options string, body []byte) (entries []any, failure string) {
	defer func() {
		if reason := recover(); reason != nil {
			failure = fmt.Sprint("panic: ", reason)
		}
	}()
	parser, err := textparse.New(append([]byte(nil), body...), types_[format], labels.NewSymbolTable(), textparse.ParserOptions{
		IgnoreNativeHistograms:                  strings.Contains(options, "i"),
		ConvertClassicHistogramsToNHCB:          strings.Contains(options, "c"),
		KeepClassicOnClassicAndNativeHistograms: strings.Contains(options, "k"),
	})
	if err != nil {
		panic(err)
	}
	for {
		kind, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return entries, ""
		}
		if err != nil {
			return entries, latin([]byte(err.Error()))
		}
		start := func() any {
			if format == "protobuf" {
				return parser.StartTimestamp()
			}
			return 0
		}
		switch kind {
		case textparse.EntrySeries:
			series, shared, value := parser.Series()
			timestamp := time(shared)
			var raw any
			if format != "protobuf" {
				raw = latin(series)
			}
			var set labels.Labels
			parser.Labels(&set)
			entry := []any{"S", raw, bits(value), timestamp, pairs(set), exemplars(parser, false)}
			entries = append(entries, append(entry, start()))
		case textparse.EntryHistogram:
			_, shared, h, fh := parser.Histogram()
			timestamp := time(shared)
			var set labels.Labels
			parser.Labels(&set)
			entry := []any{"N", timestamp, pairs(set), dumpHistogram(h, fh), exemplars(parser, true)}
			entries = append(entries, append(entry, start(), limited(h, fh)))
		case textparse.EntryType:
			name, metricType := parser.Type()
			entries = append(entries, []any{"T", latin(name), string(metricType)})
		case textparse.EntryHelp:
			name, help := parser.Help()
			entries = append(entries, []any{"H", latin(name), latin(help)})
		case textparse.EntryUnit:
			name, unit := parser.Unit()
			entries = append(entries, []any{"U", latin(name), latin(unit)})
		case textparse.EntryComment:
			entries = append(entries, []any{"C", latin(parser.Comment())})
		}
	}
}

var out = bufio.NewWriter(os.Stdout)

func write(name, format, options string, body []byte) { writeCase(name, nil, format, options, body) }

func writeCase(name string, should *bool, format, options string, body []byte) {
	entries, failure := judge(format, options, body)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(row{name, should, format, options, latin(body), entries, failure}); err != nil {
		panic(err)
	}
}

// Bodies that are written out, each as it stands and some without the last line.
var openMetrics = []string{
	"", "\n", "# EOF", "# EOF\n", "# EOF\n\n", "# EOF \n", "# EOFx\n", "# EOF\na 1\n", "a 1\n", "a 1", "#EOF\n", "#  EOF\n", "# E\x00OF\n", "# EOF\n\x00", "# EOF\x00", "# EOF\x00a", "# \x00EOF\n", "a 1\n# EOF\n", "a 1\n\n# EOF\n", " a 1\n# EOF\n", "a  1\n# EOF\n", "a\t1\n# EOF\n", "a 1 \n# EOF\n", "a 1  2\n# EOF\n", "a 1 2 \n# EOF\n", "a 1\t\n# EOF\n", "a 1\r\n# EOF\n", "a 1 2 3\n# EOF\n", "a 1 x\n# EOF\n", "a 1 2.5\n# EOF\n", "a 1 -2.5\n# EOF\n", "a 1 1e400\n# EOF\n", "a 1 NaN\n# EOF\n", "a 1 Inf\n# EOF\n", "a 1 9e15\n# EOF\n", "a 1 1e16\n# EOF\n", "a 1 1e300\n# EOF\n", "a 1 -1e300\n# EOF\n", "a 1 0.0005\n# EOF\n", "a 1 -0.0015\n# EOF\n", "a 1 1700000000.123\n# EOF\n", "a 1 0x1p4\n# EOF\n", "a 1_0\n# EOF\n", "a 1 1_0\n# EOF\n", "a 1 #\n# EOF\n", "a 1 # \n# EOF\n", "a 1 # x\n# EOF\n", "a 1 #x\n# EOF\n", "a 1 #", "a 1 # ", "a 1 ", "a 1 # {", "a 1 # {}", "a 1 # {} 1", "a 1 # {} 1 ", "a 1 # {} 1 2", "a", "a ", "a{", "a{b", "a{b=", "a{b=\"", "a{b=\"c", "a{b=\"c\"", "a{b=\"c\"}", "a{b=\"c\"} ", "{", "{\"", "{\"a", "{\"a\"", "# ", "#", "# HELP", "# HELP ", "# HELP a", "# HELP a ", "# HELP a b", "# TYPE a counter", "# UNIT a_b b", "a\x00 1\n# EOF\n", "a 1\x00\n# EOF\n", "a 1 \x00\n# EOF\n", "a 1 2\x00\n# EOF\n", "a \x001\n# EOF\n",
	"a{} 1\n# EOF\n", "a{ } 1\n# EOF\n", "a {} 1\n# EOF\n", "a{}1\n# EOF\n", "a{}  1\n# EOF\n", "a{b=\"c\"} 1\n# EOF\n", "a{b=\"c\",} 1\n# EOF\n", "a{,} 1\n# EOF\n", "a{,b=\"c\"} 1\n# EOF\n", "a{b=\"c\",,} 1\n# EOF\n", "a{b=\"c\" } 1\n# EOF\n", "a{b=\"c\", d=\"e\"} 1\n# EOF\n", "a{b=\"c\"d=\"e\"} 1\n# EOF\n", "a{b =\"c\"} 1\n# EOF\n", "a{b= \"c\"} 1\n# EOF\n", "a{b} 1\n# EOF\n", "a{b=} 1\n# EOF\n", "a{b=c} 1\n# EOF\n", "a{=\"c\"} 1\n# EOF\n", "a{9=\"c\"} 1\n# EOF\n", "a{b:c=\"d\"} 1\n# EOF\n", "a{:b=\"d\"} 1\n# EOF\n", "a{b.c=\"d\"} 1\n# EOF\n", "a{b=\"\"} 1\n# EOF\n", "a{b=\"1\",b=\"2\"} 1\n# EOF\n", "a{__name__=\"b\"} 1\n# EOF\n", "a{b=\"x\ny\"} 1\n# EOF\n", "a{b=\"x\\ny\\\\z\\\"w\\t\"} 1\n# EOF\n", "a{b=\"\\\n\"} 1\n# EOF\n", "a{b=\"\xff\"} 1\n# EOF\n", "a{b=\"x\x00y\"} 1\n# EOF\n", "a{b=\"x\"\x00} 1\n# EOF\n", "a{b=\"x\"\x00\x00,c=\"d\"} 1\n# EOF\n", "a{b=\x00\"x\"} 1\n# EOF\n", "a{b\x00=\"x\"} 1\n# EOF\n", "a{b=\"\\\x00\"\"} 1\n# EOF\n", "a{b=\"x\"\x00", "a{b=\"c\"}{d=\"e\"} 1\n# EOF\n",
	"{\"a.b\"} 1\n# EOF\n", "{\"a.b\",} 1\n# EOF\n", "{\"a.b\",c=\"d\"} 1\n# EOF\n", "{c=\"d\",\"a.b\"} 1\n# EOF\n", "{\"a.b\",\"c.d\"=\"e\"} 1\n# EOF\n", "{\"a\",\"b\"} 1\n# EOF\n", "a{\"b\"} 1\n# EOF\n", "{} 1\n# EOF\n", "{b=\"c\"} 1\n# EOF\n", "{\"\"} 1\n# EOF\n", "{\"a\nb\"} 1\n# EOF\n", "{\"a\x00b\"} 1\n# EOF\n", "{\"a\"\x00} 1\n# EOF\n", "{\"a\\\"b\\\\c\\nd\"} 1\n# EOF\n", "{\"a\\\nb\"} 1\n# EOF\n", "{\"a\"}1\n# EOF\n", "{\"a\"} 1 2 # {} 3 4\n# EOF\n", "{\"a\"=\"b\"} 1\n# EOF\n", "{\"\xff\"} 1\n# EOF\n", "{\"a\",\"\xff\"=\"b\"} 1\n# EOF\n",
	"a 1 # {} 1\n# EOF\n", "a 1 # {b=\"c\"} 1\n# EOF\n", "a 1 # {b=\"c\"} 1 2\n# EOF\n", "a 1 3 # {b=\"c\"} 1 2.001\n# EOF\n", "a 1 # {b=\"c\"} 1 NaN\n# EOF\n", "a 1 # {b=\"c\"} NaN\n# EOF\n", "a 1 # {b=\"c\"} x\n# EOF\n", "a 1 # {b=\"c\"} 1 x\n# EOF\n", "a 1 # {b=\"c\"} 1 2 3\n# EOF\n", "a 1 # {b=\"c\"} 1 \n# EOF\n", "a 1 # {b=\"c\"} \n# EOF\n", "a 1 # {b=\"c\"}\n# EOF\n", "a 1 # {b=\"c\"}1\n# EOF\n", "a 1 # {b=\"c\"}  1\n# EOF\n", "a 1 # {b=\"c\",} 1\n# EOF\n", "a 1 # {,} 1\n# EOF\n", "a 1 # {b=\"c\",d=\"e\"} 1\n# EOF\n", "a 1 # {b=\"c\"d=\"e\"} 1\n# EOF\n", "a 1 # {\"b\"} 1\n# EOF\n", "a 1 # {\"b.c\"=\"d\"} 1\n# EOF\n", "a 1 # {b=\"x\\\"y\\n\\\\\"} 1\n# EOF\n", "a 1 # {b=\"x\ny\"} 1\n# EOF\n", "a 1 # {\"b\nc\"=\"d\"} 1\n# EOF\n", "a 1 # {b=\"x\x00\"} 1\n# EOF\n", "a 1 # {b=\"\xff\"} 1\n# EOF\n", "a 1 # {b= 1} 1\n# EOF\n", "a 1 # {b= \"c\"} 1\n# EOF\n", "a 1 # {b} 1\n# EOF\n", "a 1 # {b=\"c\",b=\"d\"} 1\n# EOF\n", "a 1 # {b=\"\"} 1\n# EOF\n", "a 1 # {b=\"" + strings.Repeat("x", 127) + "\"} 1\n# EOF\n", "a 1 # {b=\"" + strings.Repeat("x", 128) + "\"} 1\n# EOF\n", "a 1 # {b=\"" + strings.Repeat("é", 127) + "\"} 1\n# EOF\n", "a 1 # {b=\"c\"} 1 1e300\n# EOF\n", "a 1 # {b=\"c\"} 1 # {} 1\n# EOF\n", "a 1  # {b=\"c\"} 1\n# EOF\n", "a 1 #  {b=\"c\"} 1\n# EOF\n", "a 1 #{b=\"c\"} 1\n# EOF\n",
	"# HELP a b\n# EOF\n", "# HELP a \n# EOF\n", "# HELP a\n# EOF\n", "# HELP  a b\n# EOF\n", "# HELP a  b \n# EOF\n", "#  HELP a b\n# EOF\n", "# HELP\ta b\n# EOF\n", "# HELP a\tb\n# EOF\n", "# HELP a b\\nc\\\\d\\\"e\\t\n# EOF\n", "# HELP a \xff\n# EOF\n", "# HELP a b\x00c\n# EOF\n", "# HELP a b\n\x00\x00# EOF\n", "# HELP a b\n\x00", "# TYPE a counter\n\x00# EOF\n", "# HELP \x00a b\n# EOF\n", "# H\x00ELP a b\n# EOF\n", "# HELP a\x00 b\n# EOF\n", "# HELP a \x00b\n# EOF\n", "# HELP \"a.b\" c\n# EOF\n", "# HELP \"a.b\"c\n# EOF\n", "# HELP \"a\nb\" c\n# EOF\n", "# HELP \"a\\\"b\" c\n# EOF\n", "# HELP \"a c\n# EOF\n", "# HELP 9 b\n# EOF\n", "# HELP a.b c\n# EOF\n", "# help a b\n# EOF\n", "# comment\n# EOF\n", "#comment\n# EOF\n", "# TYPE a counter\n# EOF\n", "# TYPE a gauge\n# EOF\n", "# TYPE a histogram\n# EOF\n", "# TYPE a gaugehistogram\n# EOF\n", "# TYPE a summary\n# EOF\n", "# TYPE a info\n# EOF\n", "# TYPE a stateset\n# EOF\n", "# TYPE a unknown\n# EOF\n", "# TYPE a untyped\n# EOF\n", "# TYPE a Counter\n# EOF\n", "# TYPE a counter \n# EOF\n", "# TYPE a  counter\n# EOF\n", "# TYPE a \n# EOF\n", "# TYPE a\n# EOF\n", "# TYPE a count\x00er\n# EOF\n", "# UNIT a_s s\n# EOF\n", "# UNIT a s\n# EOF\n", "# UNIT s s\n# EOF\n", "# UNIT _s s\n# EOF\n", "# UNIT as s\n# EOF\n", "# UNIT a \n# EOF\n", "# UNIT a\n# EOF\n", "# UNIT \"a.b_s\" s\n# EOF\n", "# UNIT a_b_s b_s\n# EOF\n", "# UNIT a_s s \n# EOF\n",
	"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_bucket{le=\"x\"} 1\nh_bucket{quantile=\"1\"} 1\n# EOF\n", "# TYPE s summary\ns{quantile=\"1\"} 1\ns{le=\"1\"} 1\n# EOF\n", "# TYPE h gaugehistogram\nh_bucket{le=\"1\"} 1\n# EOF\n", "h_bucket{le=\"1\"} 1\n# EOF\n", "# TYPE a counter\na_total 1\na_created 1.7e9\n# EOF\n", "{\"\\\"\",le=\"x\"} 1\n# EOF\n",
}

var values = []string{"0", "1", "2", "3", "17", "1.5", "-1", "+Inf", "NaN", "1e3", "1e309", "x", "0x1", "1_0", "-0", "1e-400"}

func pick(random *rand.Rand, list ...string) string { return list[random.Intn(len(list))] }

var pieces = []string{"a", "b_c", "a:b", "{", "}", "\"", "=", ",", " ", "\t", "\n", "\\", "\\n", "\\\"", "1", "2.5", "NaN", "1700000000.5", "# ", "#", " # {", "HELP", "TYPE", "UNIT", "EOF", "# EOF\n", "counter", "histogram", "summary", "le", "quantile", "é", "\xff", "\x00", "-", "\r", "{\"x.y\"", "b=\"c\"", "le=\"1\"", "\"q\"=\"v\"", "a 1\n", "a{b=\"c\"} 2\n", "# TYPE h histogram\n", "# HELP h text \\n\n", "# UNIT a_s s\n"}

func randomOpenMetrics(random *rand.Rand) string {
	var out strings.Builder
	if random.Intn(4) == 0 {
		for i, n := 0, 1+random.Intn(12); i < n; i++ {
			out.WriteString(pieces[random.Intn(len(pieces))])
		}
	} else {
		for i, n := 0, 1+random.Intn(4); i < n; i++ {
			out.WriteString(line(random))
		}
	}
	if random.Intn(10) > 0 {
		out.WriteString("# EOF\n")
	}
	return mutated(random, out.String())
}

// A few bytes inserted, deleted or changed; or none.
func mutated(random *rand.Rand, text string) string {
	body := []byte(text)
	for i, n := 0, random.Intn(3); i < n && len(body) > 0; i++ {
		at := random.Intn(len(body))
		piece := pieces[random.Intn(len(pieces))]
		switch random.Intn(3) {
		case 0:
			body = append(body[:at], append([]byte(piece), body[at:]...)...)
		case 1:
			body = append(body[:at], body[at+1:]...)
		default:
			body[at] = piece[0]
		}
	}
	return string(body)
}

func line(random *rand.Rand) string {
	switch random.Intn(9) {
	case 0:
		return "# TYPE " + pick(random, "h", "\"x.y\"") + " " + pick(random, "counter", "gauge", "histogram", "gaugehistogram", "summary", "unknown", "info", "stateset") + "\n"
	case 1:
		return "# HELP " + pick(random, "h", "\"x.y\"") + " " + pick(random, "some text", "a\\nb", "é\\\\", "") + "\n"
	case 2:
		return "# UNIT " + pick(random, "h_s", "\"x.y_s\"", "a_b_s") + " " + pick(random, "s", "s", "b_s", "") + "\n"
	}
	out := series(random)
	out += " " + values[random.Intn(len(values))]
	out += pick(random, "", "", " 1700000000.25", " 0", " -1.5")
	if random.Intn(3) == 0 {
		out += " # {" + pick(random, "", "id=\"x\"", "id=\"x\",b=\"é\\\"\\n\"", "\"i.d\"=\"y\",", "id=\"x\",id=\"y\"") + "} " + values[random.Intn(len(values))] + pick(random, "", " 1700000000.123")
	}
	return out + "\n"
}

func series(random *rand.Rand) string {
	var parts []string
	name := pick(random, "metric", "h_bucket", "a:b", "a_created", "")
	if name == "" {
		parts = append(parts, pick(random, "\"x.y\"", "\"日本\"", "\"a\\\"b\""))
	}
	for i, n := 0, random.Intn(4); i < n; i++ {
		parts = append(parts, pick(random, "le", "quantile", "job", "\"k.l\"")+"="+pick(random, "\"1\"", "\"0.5\"", "\"x\\\\y\\n\"", "\"é\"", "\"\"", "\"+Inf\""))
	}
	if len(parts) > 0 || name == "" || random.Intn(4) == 0 {
		return name + "{" + strings.Join(parts, ",") + pick(random, "", "", ",") + "}"
	}
	return name
}

// Families of classic histograms and other things between them, in text or OpenMetrics.
//
// Prometheus mixes up the exemplars of converted histograms after one without a time and after a histogram that cannot
// be converted; clean bodies have neither.
func randomClassic(random *rand.Rand, openMetrics, clean bool) string {
	var out strings.Builder
	for i, n := 0, 1+random.Intn(3); i < n; i++ {
		name := pick(random, "h", "h", "g", "x.y")
		write := func(suffix, own string, value string) {
			all := own
			base := name + suffix
			if strings.Contains(name, ".") {
				all = "\"" + base + "\"" + pick(random, ",", ",") + own
				base = ""
			}
			if all != "" || base == "" {
				base += "{" + strings.TrimSuffix(all, ",") + "}"
			}
			out.WriteString(base + " " + value)
			if random.Intn(8) == 0 {
				out.WriteString(pick(random, " 1700000000", " 5"))
			}
			if openMetrics && random.Intn(4) == 0 {
				out.WriteString(" # {id=\"" + pick(random, "x", "y") + "\"} " + pick(random, "0.5", "2"))
				if clean || random.Intn(2) == 0 {
					out.WriteString(" 1700000000.123")
				}
			}
			out.WriteString("\n")
		}
		if random.Intn(8) > 0 {
			if random.Intn(2) == 0 {
				out.WriteString("# HELP " + pick(random, "h", "g", "\"x.y\"") + " text\n")
			}
			quoted := name
			if strings.Contains(name, ".") {
				quoted = "\"" + name + "\""
			}
			out.WriteString("# TYPE " + quoted + " " + pick(random, "histogram", "histogram", "histogram", "histogram", "counter", "summary") + "\n")
		}
		for j, m := 0, 1+random.Intn(3); j < m; j++ {
			own := pick(random, "", "a=\"1\",", "a=\"2\",", "a=\"1\",b=\"x\\\"\\n\",")
			if clean {
				own = fmt.Sprintf("a=\"%d.%d\",", i, j)
			}
			sum := func() { write("_sum", own, pick(random, "1", "2.5", "NaN", "-1", "+Inf")) }
			count := 0
			fraction := random.Intn(6) == 0
			text := func(count int) string {
				if fraction {
					return fmt.Sprint(float64(count) + 0.5)
				}
				return fmt.Sprint(count)
			}
			bounds := []string{"-1", "0.1", "0.5", "1", "1.0", "2.5", "10", "1e6"}
			var lines []func()
			for _, bound := range bounds {
				if random.Intn(2) > 0 {
					continue
				}
				count += []int{0, 0, 1, 3}[random.Intn(4)]
				value, bound := text(count), bound
				lines = append(lines, func() { write("_bucket", own+"le=\""+bound+"\",", value) })
			}
			if random.Intn(5) > 0 {
				value := text(count)
				last := pick(random, "+Inf", "+Inf", "+Inf", "inf", "NaN", "x")
				if clean {
					last = "+Inf"
				}
				lines = append(lines, func() { write("_bucket", own+"le=\""+last+"\",", value) })
			}
			if !clean && random.Intn(12) == 0 {
				random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
			}
			if random.Intn(4) == 0 {
				sum()
			}
			for _, line := range lines {
				line()
			}
			if clean || random.Intn(5) > 0 {
				value := text(count)
				if !clean && random.Intn(12) == 0 {
					value = pick(random, "99", "-1", "NaN", "+Inf", "1e30")
				}
				write("_count", own, value)
			}
			if random.Intn(2) == 0 {
				sum()
			}
			if random.Intn(6) == 0 {
				write(pick(random, "_created", "", "_total"), own, "1")
			}
		}
	}
	if openMetrics {
		out.WriteString("# EOF\n")
	}
	return out.String()
}

func randomTime(random *rand.Rand) *types.Timestamp {
	switch random.Intn(4) {
	case 0:
		return &types.Timestamp{Seconds: 1700000000 + random.Int63n(100), Nanos: random.Int31n(1e9)}
	case 1:
		return &types.Timestamp{Seconds: -random.Int63n(100), Nanos: random.Int31n(1e9) - 5e8}
	}
	return nil
}

func number(random *rand.Rand) float64 {
	return []float64{0, 1, 2, 0.5, -1, 1e300, 1e-300, 123456789, math.NaN(), math.Inf(1), math.Inf(-1), math.Float64frombits(0x7ff0000000000002), 0.1, 1000000, 100000}[random.Intn(15)]
}

func randomLabels(random *rand.Rand) []dto.LabelPair {
	var list []dto.LabelPair
	for i, n := 0, random.Intn(4); i < n; i++ {
		list = append(list, dto.LabelPair{Name: pick(random, "a", "b", "k.l", "é", "le", "quantile", "A", "__name__"), Value: pick(random, "1", "x", "", "é\n\"", "+Inf")})
	}
	return list
}

func randomExemplar(random *rand.Rand) *dto.Exemplar {
	if random.Intn(2) == 0 {
		return nil
	}
	return &dto.Exemplar{Label: randomLabels(random), Value: number(random), Timestamp: randomTime(random)}
}

func randomSpans(random *rand.Rand) (spans []dto.BucketSpan, buckets int) {
	for i, n := 0, random.Intn(4); i < n; i++ {
		length := uint32([]int{0, 1, 2, 3, 5}[random.Intn(5)])
		offset := int32(random.Intn(5))
		if i == 0 {
			offset -= 3
		} else if random.Intn(20) == 0 {
			offset = -offset
		}
		spans = append(spans, dto.BucketSpan{Offset: offset, Length: length})
		buckets += int(length)
	}
	if random.Intn(30) == 0 {
		buckets++
	}
	return spans, buckets
}

func randomHistogram(random *rand.Rand) *dto.Histogram {
	h := &dto.Histogram{SampleSum: number(random), StartTimestamp: randomTime(random)}
	float := random.Intn(3) == 0
	kind := random.Intn(3) // 0 classic, 1 native, 2 both
	total := uint64(0)
	if kind != 1 {
		for _, bound := range []float64{-1, 0.1, 0.5, 1, 2.5, 10, 1e6, math.Inf(1)} {
			if random.Intn(2) == 0 {
				continue
			}
			total += uint64(random.Intn(3))
			bucket := dto.Bucket{UpperBound: bound, Exemplar: randomExemplar(random)}
			if float {
				bucket.CumulativeCountFloat = float64(total) + 0.5
			} else {
				bucket.CumulativeCount = total
			}
			h.Bucket = append(h.Bucket, bucket)
		}
		if random.Intn(15) == 0 && len(h.Bucket) > 1 {
			h.Bucket[0], h.Bucket[1] = h.Bucket[1], h.Bucket[0]
		}
		if random.Intn(25) == 0 {
			h.Bucket = append(h.Bucket, dto.Bucket{UpperBound: number(random), CumulativeCount: total})
		}
	}
	if kind != 0 {
		total = 0
		h.Schema = int32(random.Intn(14) - 5)
		h.ZeroThreshold = []float64{0, 1e-128, 0.5}[random.Intn(3)]
		side := func() ([]dto.BucketSpan, []int64, []float64) {
			spans, buckets := randomSpans(random)
			var deltas []int64
			var counts []float64
			last := int64(0)
			for i := 0; i < buckets; i++ {
				count := []int64{0, 0, 1, 2, 7}[random.Intn(5)]
				if random.Intn(60) == 0 {
					count = -1
				}
				deltas = append(deltas, count-last)
				counts = append(counts, float64(count)/2)
				last = count
				total += uint64(count)
			}
			if float {
				return spans, nil, counts
			}
			return spans, deltas, nil
		}
		h.PositiveSpan, h.PositiveDelta, h.PositiveCount = side()
		h.NegativeSpan, h.NegativeDelta, h.NegativeCount = side()
		if random.Intn(3) > 0 {
			if float {
				h.ZeroCountFloat = 1.5
			} else {
				h.ZeroCount = 2
				total += 2
			}
		}
		for i, n := 0, random.Intn(3); i < n; i++ {
			if e := randomExemplar(random); e != nil {
				h.Exemplars = append(h.Exemplars, e)
			}
		}
	}
	if random.Intn(12) == 0 {
		total += uint64(random.Intn(3))
	}
	if float {
		h.SampleCountFloat = float64(total) / 2
		if kind == 0 {
			h.SampleCountFloat = float64(total) + 0.5
		}
	} else {
		h.SampleCount = total
	}
	return h
}

func randomFamily(random *rand.Rand) *dto.MetricFamily {
	family := &dto.MetricFamily{
		Name: pick(random, "a", "h", "x.y", "a_total", "é"),
		Help: pick(random, "", "text", "é\n"),
		Unit: pick(random, "", "", "s"),
		Type: dto.MetricType(random.Intn(6)),
	}
	if random.Intn(2) == 0 {
		family.Type = dto.MetricType(4 + random.Intn(2))
	}
	for i, n := 0, random.Intn(4); i < n; i++ {
		metric := dto.Metric{Label: randomLabels(random)}
		if random.Intn(4) == 0 {
			metric.TimestampMs = []int64{0, 1, -5, 1700000000123}[random.Intn(4)]
		}
		if random.Intn(25) > 0 || family.Type == dto.MetricType_UNTYPED {
			switch family.Type {
			case dto.MetricType_COUNTER:
				metric.Counter = &dto.Counter{Value: number(random), Exemplar: randomExemplar(random), StartTimestamp: randomTime(random)}
			case dto.MetricType_GAUGE:
				metric.Gauge = &dto.Gauge{Value: number(random)}
			case dto.MetricType_UNTYPED:
				// Prometheus keeps the last value for one that is left out, as zero is.
				metric.Untyped = &dto.Untyped{Value: number(random) + 3}
			case dto.MetricType_SUMMARY:
				metric.Summary = &dto.Summary{SampleCount: uint64(random.Intn(9)), SampleSum: number(random), StartTimestamp: randomTime(random)}
				for j, m := 0, random.Intn(3); j < m; j++ {
					metric.Summary.Quantile = append(metric.Summary.Quantile, dto.Quantile{Quantile: []float64{0, 0.5, 0.99, 1, 1e-7}[random.Intn(5)], Value: number(random)})
				}
			default:
				metric.Histogram = randomHistogram(random)
			}
		}
		family.Metric = append(family.Metric, metric)
	}
	return family
}

func randomProtobuf(random *rand.Rand) string {
	var body []byte
	for i, n := 0, 1+random.Intn(3); i < n; i++ {
		message, err := proto.Marshal(randomFamily(random))
		if err != nil {
			panic(err)
		}
		body = append(append(body, proto.EncodeVarint(uint64(len(message)))...), message...)
	}
	if random.Intn(3) > 0 {
		return string(body)
	}
	for i, n := 0, 1+random.Intn(2); i < n && len(body) > 0; i++ {
		at := random.Intn(len(body))
		switch random.Intn(4) {
		case 0:
			body = body[:at]
		case 1:
			body = append(body[:at], body[at+1:]...)
		default:
			body[at] = byte(random.Intn(256))
		}
	}
	return string(body)
}

func main() {
	count := flag.Int("random", 100, "random bodies of each kind besides the written ones")
	seed := flag.Int64("seed", 1, "seed of the random bodies")
	only := flag.String("only", "", "only this kind: written, cases, files, openmetrics, classic, protobuf")
	cases := flag.String("cases", "", "folder of OpenMetrics cases (one folder each, with a file metrics)")
	flag.Parse()
	random := rand.New(rand.NewSource(*seed))
	defer out.Flush()
	wanted := func(kind string) bool { return *only == "" || *only == kind }
	if wanted("written") {
		for _, body := range openMetrics {
			write("", "openmetrics", "", []byte(body))
		}
		for _, value := range values {
			write("", "openmetrics", "", []byte("a "+value+" "+value+" # {} "+value+" "+value+"\n# EOF\n"))
		}
	}
	if *cases != "" && wanted("cases") {
		paths, _ := filepath.Glob(filepath.Join(*cases, "*", "metrics"))
		sort.Strings(paths)
		for _, path := range paths {
			body, err := os.ReadFile(path)
			if err != nil {
				panic(err)
			}
			verdict, err := os.ReadFile(filepath.Join(filepath.Dir(path), "test.json"))
			if err != nil {
				panic(err)
			}
			var standard struct{ ShouldParse bool }
			if err := json.Unmarshal(verdict, &standard); err != nil {
				panic(err)
			}
			writeCase(filepath.Base(filepath.Dir(path)), &standard.ShouldParse, "openmetrics", "", body)
		}
	}
	if wanted("files") {
		for _, path := range flag.Args() {
			body, err := os.ReadFile(path)
			if err != nil {
				panic(err)
			}
			for _, options := range []string{"", "c", "ck"} {
				write(filepath.Base(path), "openmetrics", options, body)
			}
		}
	}
	for i := 0; i < *count; i++ {
		if wanted("openmetrics") {
			write("", "openmetrics", "", []byte(randomOpenMetrics(random)))
		}
		if wanted("classic") {
			write("", "text", pick(random, "c", "ck"), []byte(randomClassic(random, false, false)))
			write("", "openmetrics", pick(random, "c", "ck"), []byte(randomClassic(random, true, false)))
			write("clean", "openmetrics", pick(random, "c", "ck"), []byte(randomClassic(random, true, true)))
		}
		if wanted("protobuf") {
			write("", "protobuf", pick(random, "", "", "k", "i", "ik", "c", "ck", "ic", "ick"), []byte(randomProtobuf(random)))
		}
	}
}
