// Prints what Prometheus' text parser makes of bodies, one JSON object a line. See SOURCE.md.
//
//	go run generate.go -random 300 -seed 1 alltypes.237mfs.prom.txt > cases.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// Texts hold one character (U+0000 to U+00FF) for each byte, so that they can carry any bytes. A file's entries are
// given as their number and the FNV-1a hash of their JSON forms, each followed by a newline.
type row struct {
	File    string `json:"file,omitempty"`
	Body    string `json:"body,omitempty"`
	Entries []any  `json:"entries,omitempty"`
	Count   int    `json:"count,omitempty"`
	Hash    string `json:"hash,omitempty"`
	Error   string `json:"error,omitempty"`
}

func latin(bytes []byte) string {
	runes := make([]rune, len(bytes))
	for i, b := range bytes {
		runes[i] = rune(b)
	}
	return string(runes)
}

func judge(body []byte) (entries []any, failure string) {
	// The parser appends to its input where there is room.
	parser := textparse.NewPromParser(append([]byte(nil), body...), labels.NewSymbolTable(), false)
	for {
		kind, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return entries, ""
		}
		if err != nil {
			return entries, latin([]byte(err.Error()))
		}
		switch kind {
		case textparse.EntrySeries:
			series, shared, value := parser.Series()
			var timestamp any
			if shared != nil {
				timestamp = *shared
			}
			var set labels.Labels
			parser.Labels(&set)
			pairs := []string{}
			set.Range(func(label labels.Label) {
				pairs = append(pairs, latin([]byte(label.Name)), latin([]byte(label.Value)))
			})
			entries = append(entries, []any{"S", latin(series), fmt.Sprintf("%016x", math.Float64bits(value)), timestamp, pairs})
		case textparse.EntryType:
			name, metricType := parser.Type()
			entries = append(entries, []any{"T", latin(name), string(metricType)})
		case textparse.EntryHelp:
			name, help := parser.Help()
			entries = append(entries, []any{"H", latin(name), latin(help)})
		case textparse.EntryComment:
			entries = append(entries, []any{"C", latin(parser.Comment())})
		}
	}
}

func encode(value any) []byte {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err)
	}
	return []byte(out.String())
}

var written = []string{
	"", "\n", " ", " \t\n\n", "a 1", "a 1\n", "a 1\n\n\nb 2\n", "  a 1\n", "\ta{b=\"c\"} 1\n", "a\t1\t2\t\n", "a 1 \n", "a  {b=\"c\"}  1  2  \n", "a{} 1\n", "a{ } 1\n", "a{\t} 1\n", "a{b=\"c\",} 1\n", "a{b=\"c\" , d=\"e\" , } 1\n", "a{b=\"c\" d=\"e\"} 1\n", "a{b=\"c\"d=\"e\"} 1\n", "a{,} 1\n", "a{,b=\"c\"} 1\n", "a{b=\"c\",,} 1\n", "a{b = \"c\"} 1\n", "a{b\t=\t\"c\"} 1\n", "a{b} 1\n", "a{b=} 1\n", "a{b=c} 1\n", "a{b='c'} 1\n", "a{=\"c\"} 1\n", "a{b=\"c\"\n} 1\n", "a{\nb=\"c\"} 1\n", "a{b=\"c\n", "a{b=\"c", "a{b=\"c\"", "a{b=\"c\"}", "a{b=\"c\"}\n", "a{b=\"c\"} \n", "a{b=\"c\"}1\n", "a{b=\"c\"}{d=\"e\"} 1\n", "a{b=\"c\"} {d=\"e\"} 1\n", "a{", "a{b", "a", "a\n", "a \n", "a b\n", "a 1 b\n", "a 1 2 3\n", "a 1 2 \n", "a 1 -2\n", "a 1 +2\n", "a 1 2.5\n", "a 1 2a\n", "a 1 0\n", "a 1 00012\n", "a 1 9223372036854775807\n", "a 1 9223372036854775808\n", "a 1 99999999999999999999999\n", "a 1{\n", "a 1 {\n", "a 1# x\n", "a 1 # {x=\"y\"} 1\n", "a 1 2 # {x=\"y\"} 1\n", "a+1\n", "a-1\n", "a.5\n", "a-b 1\n", "a.b 1\n", "9a 1\n", ":a 1\n", "a:b 1\n", "_ 1\n", "é 1\n", "-a 1\n", "\"a\" 1\n", "a\r\n", "a 1\r\n", "\r\n", "a{b=\"c\"} 1\r\n",
	"a{b:c=\"d\"} 1\n", "a{:b=\"d\"} 1\n", "a{9=\"d\"} 1\n", "a{b-c=\"d\"} 1\n", "a{é=\"d\"} 1\n", "a{b.c=\"d\"} 1\n", "a{__name__=\"b\"} 1\n", "a{b=\"1\",b=\"2\"} 1\n", "a{b=\"\"} 1\n", "a{b=\"\",b=\"x\"} 1\n",
	"{\"a.b\"} 1\n", "{\"a.b\",} 1\n", "{\"a.b\",c=\"d\"} 1\n", "{\"a.b\",\"c.d\"=\"e\"} 1\n", "{c=\"d\",\"a.b\"} 1\n", "{c=\"d\" \"a.b\"} 1\n", "{c=\"d\",\"a.b\",e=\"f\"} 1\n", "{\"a.b\",\"c.d\"} 1\n", "{\"a.b\" \"c.d\"} 1\n", "{\"a.b\" c=\"d\"} 1\n", "a{\"b\"} 1\n", "a{\"b\"=\"c\"} 1\n", "a{\"b\"=\"c\",\"d\"} 1\n", "{c=\"d\"} 1\n", "{} 1\n", "{", "{\"", "{\"a", "{\"a\"", "{\"a\"}", "{\"a\"} \n", "{\"\"} 1\n", "{\"a\\\"b\\\\c\\nd\\te\"} 1\n", "{\"a\nb\"} 1\n", "{\"a\\\nb\"} 1\n", "{\"日本\",\"é\"=\"ü\"} 1\n", " {\"a\"} 1\n", "{ \"a\" , \"b\" = \"c\" } 1 2\n", "{\"a\"}1\n", "{\"a\"}{\"b\"} 1\n", "{\"le\"} 1\n", "{\"\"=\"x\",\"a\"} 1\n", "{\"a\"=\"b\"} 1\n",
	"a{b=\"x\\\\y\\\"z\\nw\\tv\\q\"} 1\n", "a{b=\"\\\\n\"} 1\n", "a{b=\"\\\\\\n\"} 1\n", "a{b=\"\\\"} 1\n", "a{b=\"\\\\\"} 1\n", "a{b=\"x\\\ny\"} 1\n", "a{b=\"x\ny\"} 1\nc 2\n", "a{b=\"日本\"} 1\n", "a{b=\"\xff\"} 1\n", "ok 1\na{b=\"\xc3\x28\"} 1\n", "a{b=\"c\"} \xff\n", "\xff\n", "a\xff 1\n", "# \xff\na 1\n", "# HELP a \xff\n", "# TYPE a \xff\n", "{\"a\",b=\"\xed\xa0\x80\"} 1\n", "a{b=\"c}\"} 1\n", "a{b=\"#\",c=\"{\"} 1\n",
	"\x00", "a 1\n\x00b 2\n", "a 1\n \x00b 2\n", "a\x00 1\n", "a \x001\n", "a 1\x00\n", "a 1 \x00\n", "a 1 2\x00\n", "a 1 2 \x00\n", "a{\x00b=\"c\"} 1\n", "a{b\x00=\"c\"} 1\n", "a{b=\x00\"c\"} 1\n", "a{b= \x00\"c\"} 1\n", "a{b=\"\x00\"} 1\n", "a{b=\"\x00c\"} 1\n", "a{b=\"c\x00\"} 1\n", "a{b=\"c\"\x00} 1\n", "a{b=\"c\"\x00\x00} 1\n", "a{b=\"c\"\x00,d=\"e\"} 1\n", "a{b=\"\\\x00\"\"} 1\n", "a{b=\"\\\x00n\"} 1\n", "a{b=\"\\\x00\n\"} 1\n", "a{\"b\x00\"=\"c\"} 1\n", "{\"a\x00b\"} 1\n", "{\"a\"\x00} 1\n", "#\x00\na 1\n", "# \x00\na 1\n", "# a\x00b\na 1\n", "#a\x00b\na 1\n", "# HELP a\x00b c\nd 1\n", "# HELP a b\x00c\nd 1\n", "# HELP a \x00b\nd 1\n", "# HELP a \x00\nd 1\n", "# HELP a b\x00\nd 1\n", "# H\x00ELP a b\nc 1\n", "# HELP\x00 a b\nc 1\n", "# HELP \x00a b\nc 1\n", "# HELP \x00 a b\nc 1\n", "# TYPE a \x00counter\nc 1\n", "# TYPE a counter\x00\nc 1\n", "# TYPE a\x00 counter\nc 1\n", "# HELP \"a\x00\" b\n", "# HEL\x00\na 1\n", "\n\x00\n", "a 1\x00", "a{b=\"c\x00", "# HELP a b\x00", "a{b=\"c\"\x00",
	"#\n", "#", "# \n", "# ", "##\n", "#a\n", "# a b c\n", "# HELP\n", "# HELP \n", "# HELP  \n", "# HELP a\n", "# HELP a \n", "# HELP a  \n", "# HELP a b\n", "# HELP a  b  \n", "# HELP  a\tb\n", "#\tHELP\ta\tb\n", "#HELP a b\n", "# HELPa b\n", "# HELPER a b\n", "# help a b\n", "# HELP a-b c\n", "# HELP a.b c\n", "# HELP 9a b\n", "# HELP -a b\n", "# HELP \"a.b\" c\n", "# HELP \"a.b\"c\n", "# HELP \"a\\\"b\" c\n", "# HELP \"a\nb\" c\n", "# HELP \"a c\n", "# HELP \"\" c\n", "# HELP a b\\nc\\\\d\\\"e\\t\n", "# HELP a \\\n", "# HELP a", "# HELP a b", "  # HELP a b\n", "# HELP a # b\n", "# HELP a b\r\n", "# UNIT a b\n", "# EOF\n", "# EOF\na 1\n", "# TYPE\n", "# TYPE a\n", "# TYPE a \n", "# TYPE a counter\n", "# TYPE a gauge\n", "# TYPE a histogram\n", "# TYPE a summary\n", "# TYPE a untyped\n", "# TYPE a unknown\n", "# TYPE a info\n", "# TYPE a Counter\n", "# TYPE a  counter\n", "# TYPE a counter \n", "# TYPE a\tcounter\n", "# TYPE a counter\r\n", "# TYPE a counter x\n", "# TYPE \"a.b\" gauge\n", "# TYPE acounter\n", "# TYPE a-counter\n", "# TYPE a,counter\n", "# TYPE a counter", "# TYPE a:b counter\n", "# TYPE 日本 counter\n", "a 1\n# TYPE b nonsense\nc 2\n",
	"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_bucket{le=\"inf\"} 1\nh_bucket{le=\"NaN\"} 1\nh_bucket{le=\"x\"} 1\nh_bucket{le=\"\"} 1\nh_bucket{quantile=\"1\"} 1\n",
	"# TYPE s summary\ns{quantile=\"1\"} 1\ns{quantile=\"0\"} 1\ns{quantile=\"0.99\"} 1\ns{quantile=\"-0\"} 1\ns{quantile=\"-1\"} 1\ns{le=\"1\"} 1\nother{quantile=\"5\"} 1\n",
	"h_bucket{le=\"1\"} 1\n# TYPE h histogram\nx{le=\"1\"} 1\n# TYPE c counter\ny{le=\"1\"} 1\n", "# TYPE h histogram\n# HELP h x\n# a\nh{le=\"1\"} 1\n", "# TYPE h histogram\n{\"h\",\"le\"=\"1\"} 1\n", "# TYPE h histogram\nle{a=\"1\",le=\"2\",b=\"1\"} 1\n",
}

var values = []string{"0", "1", "-1", "+1", "1.5", ".5", "5.", ".", "1e5", "1E5", "1e+5", "1e-5", "1e", "1e+", "e5", "1.e1", ".e1", "inf", "Inf", "+Inf", "-inf", "INFINITY", "-Infinity", "infin", "infinit", "infinityx", "nan", "NaN", "NAN", "+NaN", "-nan", "nan1", "1e308", "1.7976931348623157e308", "1.7976931348623159e308", "1e309", "-1e309", "1e400", "1e99999999999", "1e-99999999999", "0e99999999999", "5e-324", "2e-324", "1e-400", "0x1", "0x1p4", "0X1P-2", "0x", "0b1", "0o7", "1_000", "1__0", "_1", "1_", "0_1", "1_0.5", "1.5_0e1_0", "00012", "0.1", "123456789012345", "1234567890123456", "12345678901234567890", "9007199254740993", "9007199254740992.9", "179769313486231580793728971405301199e270", "1,5", "1 5", "--1", "+-1", "1f", "1d", "0.30000000000000004", "4.9406564584124654e-324", "2.2250738585072011e-308", "100000", "1000000", "1234567", "123456.7", "999999", "1e21", "1e20", "0.0001", "0.00001", "0.00012345", "1e6", "1e-7", "12345678.9", "0x1.8p1", "0x.8p0", "0x_1p-2", "0x1p1_0", "0x1.fffffffffffff8p0", "0x1.fffffffffffff7p0", "0x1p-1074", "0x1p-1075", "0x1.8p-1075", "0x1p1024", "0x1p1023", "0x123456789abcdef01p3", "-0x1p-1", "+0x1p0", "0x1p", "0xp1", "0x1.p1", "0x.p1", "0xfp-99999999999", "0x1.00000000000008p0", "0x1.000000000000080000000000000000001p0", "-0", "-0.0", "1e23", "8.5e22", "1e22", "3.0e-5", "٣", "1\u00a0", "∞"}

func main() {
	count := flag.Int("random", 300, "random bodies besides the written ones")
	seed := flag.Int64("seed", 1, "seed of the random bodies")
	flag.Parse()
	random := rand.New(rand.NewSource(*seed))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	bodies := append([]string{}, written...)
	labelValues := strings.Builder{}
	labelValues.WriteString("# TYPE h histogram\n")
	for _, value := range values {
		bodies = append(bodies, "a "+value+"\n")
		labelValues.WriteString("h{le=\"" + value + "\"} 1\n")
	}
	bodies = append(bodies, labelValues.String())
	for i := 0; i < *count; i++ {
		bodies = append(bodies, randomBody(random))
	}
	for _, body := range bodies {
		entries, failure := judge([]byte(body))
		out.Write(encode(row{Body: latin([]byte(body)), Entries: entries, Error: failure}))
	}
	for _, path := range flag.Args() {
		body, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		entries, failure := judge(body)
		hash := fnv.New64a()
		for _, entry := range entries {
			hash.Write(encode(entry))
		}
		out.Write(encode(row{File: filepath.Base(path), Count: len(entries), Hash: fmt.Sprintf("%016x", hash.Sum64()), Error: failure}))
	}
}

var pieces = []string{"a", "b_c", "a:b", "{", "}", "\"", "=", ",", " ", "\t", "\n", "\\", "\\n", "\\\"", "1", "2.5", "NaN", "1700000000000", "# ", "#", "HELP", "TYPE", "counter", "histogram", "summary", "le", "quantile", "é", "\xff", "\x00", "-", "\r", "{\"x.y\"", "b=\"c\"", "le=\"1\"", "\"q\"=\"v\"", "a 1\n", "a{b=\"c\"} 2\n", "# TYPE h histogram\n", "# HELP h text \\n\n"}

// A body of well-formed lines with a few bytes inserted, deleted or changed; or of pieces.
func randomBody(random *rand.Rand) string {
	var out strings.Builder
	if random.Intn(3) == 0 {
		for i, n := 0, 1+random.Intn(12); i < n; i++ {
			out.WriteString(pieces[random.Intn(len(pieces))])
		}
		return out.String()
	}
	for i, n := 0, 1+random.Intn(3); i < n; i++ {
		out.WriteString(line(random))
	}
	body := []byte(out.String())
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
	pick := func(list ...string) string { return list[random.Intn(len(list))] }
	switch random.Intn(8) {
	case 0:
		return "# TYPE " + pick("h", "\"x.y\"") + " " + pick("counter", "gauge", "histogram", "summary", "untyped") + "\n"
	case 1:
		return "# HELP " + pick("h", "\"x.y\"") + " " + pick("some text", "a\\nb", "é\\\\", "") + "\n"
	case 2:
		return "# " + pick("", "comment", "UNIT h s") + "\n"
	}
	var parts []string
	name := pick("metric", "h_bucket", "a:b", "")
	if name == "" {
		parts = append(parts, pick("\"x.y\"", "\"日本\"", "\"a\\\"b\""))
	}
	for i, n := 0, random.Intn(4); i < n; i++ {
		parts = append(parts, pick("le", "quantile", "job", "\"k.l\"")+"="+pick("\"1\"", "\"0.5\"", "\"x\\\\y\\n\"", "\"é\"", "\"\"", "\"+Inf\""))
	}
	out := name
	if len(parts) > 0 || name == "" || random.Intn(4) == 0 {
		out += pick("", " ") + "{" + strings.Join(parts, pick(",", ", ")) + pick("", ",") + "}"
	}
	out += pick(" ", "  ", "\t") + values[random.Intn(len(values))]
	return out + pick("", "", " 1700000000000", " 0") + pick("\n", "\n", " \n")
}
