// Prints what Go's regexp package makes of patterns, one JSON object a line. See SOURCE.md.
//
//	go run generate.go -random 300 -seed 1 > cases.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"math/rand"
	"os"
	"regexp"
	"strings"
)

// A pattern: refused with Error, or with group names and what it finds in some texts.
type row struct {
	Pattern string   `json:"pattern"`
	Error   string   `json:"error,omitempty"`
	Names   []string `json:"names,omitempty"`
	Found   []found  `json:"found,omitempty"`
}

// Spans are pairs of byte offsets for each group, -1 where it took no part; absent where nothing matches.
type found struct {
	Text     string `json:"text"`
	Spans    []int  `json:"spans,omitempty"`
	Template string `json:"template,omitempty"`
	Expanded string `json:"expanded,omitempty"`
	Replaced string `json:"replaced,omitempty"`
}

var written = []string{
	"", "a", "abc", "a|b", "a|b|c|d|e|f|g|h|i|j", "(a|b)", "(foo|bar|)", ".*", "(.*)", ".+", "(.+)", ".*?", "(.+?)", "(?:.*)",
	"a.*", "a(.*)", ".*a", "(.*)a", "a.*b", "a(.+)b", "__meta_kubernetes_pod_label_(.+)", "(?-s).*", "(?-s)(.+)", "(?U).*",
	`([^:]+)(?::\d+)?;(\d+)`, `(.+)(?::\d+);(\d+)`, "(https?)", "true|false", "(?i)true", "(?i)Straße", "(?i)k", "(?i)[k]", "(?i)s", "(?i)[^s]",
	`\d`, `\D`, `\d+`, `\w+`, `\W`, `\s`, `\S+`, `(?i)\w`, `(?i)\W`, `[\d]`, `[^\d]`, `[\D\d]`, `[^\D\d]`, `[\w-.]`, `[\w-]`, `[a-\d]`, `[a-\w]`,
	`\bfoo\b`, `.*\bé\b.*`, `a\Bb`, `\B`, `.*\B`, `(?:\B.)*`, `é\B.*`, `\b.*`, `(?i)\bK\b`,
	"{foo}", "a{", "a{,5}", "a{,}", "a{}", "{", "}", "a}", "{,2}", "a{2}", "a{2,}", "a{2,3}", "a{2,1}", "a{02}", "a{2,03}", "a{1", "a{1,", "a{1,2", "a{ 1}", "a{1 }",
	"x{1000}", "x{1001}", "x{0,1001}", "x{1001,}", "x{99999999999999999999}", "x{1,99999999999999999999}", "(x{30}){34}", "(x{31}){33}", "(x{2}){501}", "((x{2}){500}){0}", "(x{0}){1000}{2}",
	"x{0}", "(a){0}(b)", "(a){0}b", "(?:a){0}", "(a)*", "(a|b)*", "(|a)*", "(|a)+", "(a|)*", "(a|)+", "(a*)*", "(a*)+", "(a+)*", "(?:a?)*?", "(|a)*?b?", "(a*)(a*)", "((a)|b)*", "(a|ab)(c|bcd)(d*)", "(?:(a)|(b))+",
	"a**", "a*+", "a+*", "a?*", "a??", "a*?", "a+?", "a???", "a*??", "a{2}{3}", "a{2}*", "a*{2}", "(a*)*", "a{2}?", "a{2}??", "(?:a{2}){3}", "a*(?i)*", `a*\Q\E*`, `a\Q\E*`, "a|*", "*", "+a", "?", "(*)", "(?:*)", "|*", "^*", "$+", "(^|$)*", "(?:$)?", "{2}", "({2})", "a|{2}", "**", "a(*", "(?i)*",
	"(?x)a", "(?-u:a)", "(?u)a", "(?i", "(?i:", "(?i:a", "(?i)a", "(?i:a)b", "(?is)a.b", "(?i-s)A.", "(?i-s:A.)b", "(?-)", "(?-:a)", "(?--i)", "(?i-)a", "(?i-i)a", "(?)a", "(?:)", "(?", "(?a", "(?#c)", "(?s-)", "(?smiU-smiU:a)", "(?ii)a", "((?i)a)b", "(?i)(?-i)a", "a(?i)b|c", "(a(?i)b|c)d", "(?U)a+", "(?U)(a+)(a*)", "(?U)(a+?)(a*)", "(?U)a*?b", "(?U)(a{1,2})(a*)", "(?U-U)(a+)(a*)",
	"(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", "(?>a)", "(?|a)", "(?R)", "(?1)", "(?P>n)", "(?P=n)", `(a)\1`, `\1`, `\8`, `\9`, `(?P<n>a)\k<n>`, `\g1`,
	"(?P<n>a)", "(?<n>a)", "(?P<n>a)(?P<n>b)", "(?<n>a)|(?<n>b)", "(?P<>a)", "(?<>a)", "(?P<n", "(?P<n>", "(?<n", "(?P<n a>a)", "(?P<é>a)", "(?P<1>a)", "(?P<1x>a)b", "(?'n'a)", "(?P<n:a)", "(?P", "(?P<", "(?<", "(?P<a_B9>x)(y)",
	`\Q..\E`, `\Qa.b\E.c`, `\Qabc`, `\Q`, `\E`, `\Q\E`, `a\Q*\E*`, `\Qé\E+`, `[\Q]\E]`, `(?i)\QaB\E`,
	`\101`, `\0`, `\00`, `\000`, `\0000`, `\07`, `\08`, `\18`, `\12`, `\377`, `\777`, `\400`, `[\101-\103]`, `[\0]`, `[\1]`, `[\12]`,
	`\x41`, `\x4`, `\x`, `\xZZ`, `\x{41}`, `\x{}`, `\x{1F600}`, `\x{110000}`, `\x{10FFFF}`, `\x{D800}`, `[\x{D7FF}-\x{E000}]`, `[\x{D800}-\x{DFFF}]`, `\x{4`, `\x{G}`, `\x{00000041}`, `\u0041`, `\U00000041`, `\N{A}`, `\o{101}`, `\cA`,
	`\a`, `\f`, `\t`, `\n`, `\r`, `\v`, `\e`, `\z`, `\Z`, `\A`, `\G`, `\h`, `\R`, `\X`, `\C`, `[\C]`, `\<`, `\>`, `\<foo\>`, `\_`, `\-`, `\/`, `\ `, `\é`, `\"`, `\'`, "\\`", `\@`, `\#`, `\~`, `\&`, `\q`, `\y`, `\K`, `[\b]`, `[\B]`, `[\A]`, `[\z]`, `\`, `a\`, `[\`, `[\]`, `(\`,
	"[]", "[]a]", "[^]a]", "[^]", "[a", "[", "[^", "[a-", "[a-]", "[-a]", "[-]", "[--a]", "[a--b]", "[+--]", "[a-c-e]", "[z-a]", "[a-a]", "[[]", "[[a]]", "[a[b]", "[&&]", "[a&&b]", "[a-z&&[aeiou]]", "[a--]", "[a~~b]", "[~~]", "[^^]", "[^a^]", "[.]", "[$]", "[*]", "[(]", "[|]", "[ ]", "[#]", "[/]", `[\]]`, `[\[\]]`, `[\-a]`, `[a\-z]`, `[\w\d]`, `[\n]`, `[^\n]`, "[^a]", "(?i)[a-c]", "(?i)[^a-c]", "(?i)[K-K]", "[é-ü]", "[ -~]", "[\x00-\x7f]", `[\x00-\x{10FFFF}]`, `[^\x00-\x{10FFFF}]`, `a|[^\x00-\x{10FFFF}]`,
	"[[:alpha:]]", "[[:^alpha:]]", "[[:word:]]", "[[:foo:]]", "[[:alpha:]", "[[:alpha", "[:alpha:]", "[[:alpha:][:digit:]_]", "(?i)[[:upper:]]", "(?i)[[:^upper:]]", "[[:space:]]", "[[:punct:]]", "[[:print:]]", "[[:graph:]]", "[[:cntrl:]]", "[[:blank:]]", "[[:xdigit:]]+", "[[:ascii:]]", "[^[:ascii:]]", "[a[:]b]", "[[:]]", "[[::]]", "[[:^:]]", "[[.a.]]", "[[=a=]]", "[[:Alpha:]]",
	`\pN`, `\pL+`, `\PL`, `\p{L}`, `\p{Lu}`, `\p{^Lu}`, `\P{^Lu}`, `(?i)\p{Lu}`, `(?i)\P{Lu}`, `(?i)[\p{Lu}]`, `(?i)[^\P{Ll}]`, `\p{Greek}`, `\p{greek}`, `\p{GREEK}`, `\p{ Gr-e_ek }`, `\p{Grek}`, `\p{script=Greek}`, `\p{sc=Greek}`, `\p{Letter}`, `\p{letter}`, `\p{Uppercase_Letter}`, `\p{uppercase letter}`, `\p{LC}`, `\p{lc}`, `\p{L&}`, `\p{Any}`, `\p{any}`, `\P{Any}`, `\p{ASCII}`, `\p{Assigned}`, `\p{Cn}`, `\p{Cs}`, `\p{Co}`, `\p{C}`, `\p{digit}`, `\p{punct}`, `\p{cntrl}`, `\p{Alphabetic}`, `\p{White_Space}`, `\p{Foo}`, `\p{}`, `\p{^}`, `\p`, `\p{`, `\p{L`, `\pé`, `\p1`, `[\pL\pN]`, `[^\pL]`, `[\p{Foo}]`, `\p{Han}+`, `\p{IsGreek}`, `\p{InGreek}`, `\p{Cyrillic}*`, `\p{Latin}+`, `\p{Common}`, `\p{Nd}`, `\p{Zs}`, `\p{Sm}`, `\p{Emoji}`, `\p{gc=L}`,
	"a)(b", "a)|(?:b", "a)", ")", "(", "(a", "((a)", "(a))", "a)(?i:B", "a)+(?:b", "|", "||", "a||b", "(|)", "()", "()*", "(())", "a()b", "^a$", "^", "$", "a^", "$a", "^^a$$", "(?m)^a$", "(?m)a$.^b", "(?m)^", "(?m:^)*a", "(?m).*$", `\Aa\z`, `a\z`, `(?m)\Aa\z`, "a$\n", "(?m)a$\n^b",
	"a.b", "(?-s)a.b", "(?-s:a.)b", "é", "日本.+", "a b", "a#b", "a\nb", "a\tb", "\x00", "😀+", "[😀-😂]", "(?i)ſ", "(?i)K", "(?i)ß", "(?i)İ", "(?i)ı", "(?i)Σ", "(?i)ς", "(?i)ǅ", "(?i)Ⱥ",
	"kube-(proxy|apiserver|scheduler);(.+)", "(?:[^/]+/)?([^:@]+)(?::([^@]+))?(?:@sha256:[0-9a-f]{64})?", "node_(cpu|memory)_.*", "go_.*|process_.*", "[a-zA-Z_][a-zA-Z0-9_]*", "(.*)[.](.*)", "(.+)-(.+)-(.+)", "10[.].*", "ip-(.*)", "(a+)(b+)?(c+)?",
}

var texts = []string{
	"", "a", "b", "ab", "aa", "aaa", "aab", "abc", "abcd", "A", "AB", "a\nb", "\n", "foo", "foo\n", "foobar", "bar", "true", "TRUE", "k", "K", "\u212a", "s", "S", "ſ", "ß", "ẞ", "é", "É", "Ω", "ω", "σ", "ς", "Σ", "İ", "i", "ı", "ǆ", "ǅ", "Ⱥ", "ⱥ", "1", "٣", "12", "_", "-", ".", "&", "&&", "a&", "~", "^", "[", "]", "[]", "{", "}", "{foo}", "a{", "a{,5}", "a{,}", "{2}", " ", "\t", "\v", "\f", "\r", "\u0085", "\u00a0", "\u2028", "日本語", "😀", "x", "xx", strings.Repeat("x", 1000), "\x00", "\x07", "..", "a.b.c", "10.0.0.1:8080;9090", "10.0.0.1;9090", "web-0-1", "__meta_kubernetes_pod_label_app", "__meta_kubernetes_pod_label_", "kube-proxy;x", "registry/app:v1@sha256:" + strings.Repeat("0f", 32), "node_cpu_x", "<foo>", "<", ">", "é b", "aé", "\\", "E", "Q", "$", "a$", "bb", "bbb", "abab", "ba", "c", "d", "bcd", "abcb", "9", "aA", "\u0378", "\ue000", "z", "y", "xy", "#", "/", "|", "(", "*", "+",
}

var templates = []string{"$1", "${1}", "$0", "$1foo", "${1}foo", "$$", "$$1", "$", "a$", "$ 1", "${", "${1", "${}", "$n", "${n}", "$n1", "$2-$1", "x", "", "$01", "${01}", "$10", "$999999999", "$100000000", "$é", "${é}", "${1 }", "$1$1", "$1_$2", "${1}_${2}", "$x", "$1x", "$-1", "pre-$1-post", "$$$1", "${a_B9}", "$٣", "$½", "$ª"}

func main() {
	count := flag.Int("random", 300, "random patterns besides the written ones")
	seed := flag.Int64("seed", 1, "seed of the random patterns")
	all := flag.Bool("all", false, "try every text, not a choice")
	flag.Parse()
	random := rand.New(rand.NewSource(*seed))
	patterns := append([]string{}, written...)
	for i := 0; i < *count; i++ {
		patterns = append(patterns, expression(random, 3))
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	seen := map[string]bool{}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for i, pattern := range patterns {
		if seen[pattern] {
			continue
		}
		seen[pattern] = true
		if err := encoder.Encode(judge(random, pattern, i >= len(written), *all)); err != nil {
			panic(err)
		}
	}
}

func judge(random *rand.Rand, pattern string, isRandom, all bool) row {
	compiled, err := regexp.Compile("^(?s:" + pattern + ")$")
	if err != nil {
		return row{Pattern: pattern, Error: err.Error()}
	}
	result := row{Pattern: pattern, Names: compiled.SubexpNames()}
	candidates := append([]string{}, texts...)
	if isRandom {
		for i := 0; i < 60; i++ {
			candidates = append(candidates, text(random))
		}
	}
	matched, missed := 0, 0
	random.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	used := map[string]bool{}
	for _, candidate := range candidates {
		if used[candidate] {
			continue
		}
		used[candidate] = true
		spans := compiled.FindStringSubmatchIndex(candidate)
		if spans == nil {
			if missed++; missed > 2 && !all {
				continue
			}
			result.Found = append(result.Found, found{Text: candidate})
			continue
		}
		if matched++; matched > 3 && !all {
			continue
		}
		template := templates[random.Intn(len(templates))]
		result.Found = append(result.Found, found{
			Text:     candidate,
			Spans:    spans,
			Template: template,
			Expanded: string(compiled.ExpandString(nil, template, candidate, spans)),
			Replaced: compiled.ReplaceAllString(candidate, template),
		})
	}
	return result
}

var atoms = []string{"a", "b", "c", "ab", "K", "s", "é", "1", "_", "-", ".", `\d`, `\w`, `\W`, `\s`, `\b`, `\B`, "^", "$", `\.`, `\pL`, `\p{Lu}`, `\P{Greek}`, "{", "}", "{1", "]", `\Qa.\E`, `\x41`, `\101`, `\n`, "&", "~", " ", `\A`, `\z`, `\-`, `\q`, "(?i)", "(?m)", "(?-s)", "(?U)", "(?s)"}

var classItems = []string{"a", "b", "a-c", "K", "s", "-", "&&", "--", "~~", "[", "^", `\d`, `\w`, `\W`, `\S`, `\]`, "é", "0-9", `\n`, ".", "[:alpha:]", "[:^digit:]", `\pL`, `\P{Lu}`, " -/", "z-a", "a-", `\x41-\x43`, `\-`, "[:", ":]"}

var repetitions = []string{"*", "+", "?", "*?", "+?", "??", "{2}", "{0}", "{1,2}", "{0,2}?", "{2,}", "{,2}", "{1,2}?"}

func expression(random *rand.Rand, depth int) string {
	var out strings.Builder
	for i, n := 0, 1+random.Intn(3); i < n; i++ {
		if i > 0 && random.Intn(4) == 0 {
			out.WriteString("|")
		}
		switch kind := random.Intn(10); {
		case kind < 5 || depth == 0:
			out.WriteString(atoms[random.Intn(len(atoms))])
		case kind < 7:
			out.WriteString("[")
			if random.Intn(3) == 0 {
				out.WriteString("^")
			}
			for j, m := 0, 1+random.Intn(3); j < m; j++ {
				out.WriteString(classItems[random.Intn(len(classItems))])
			}
			out.WriteString("]")
		default:
			open := []string{"(", "(?:", "(?i:", "(?P<n>", "(?<m>", "(?U:", "(?-s:", "(?m:", "(|"}[random.Intn(9)]
			out.WriteString(open + expression(random, depth-1) + ")")
		}
		if random.Intn(3) == 0 {
			out.WriteString(repetitions[random.Intn(len(repetitions))])
		}
		if random.Intn(40) == 0 {
			out.WriteString([]string{")", "(", "[", "*", `\`, "(?"}[random.Intn(6)])
		}
	}
	return out.String()
}

func text(random *rand.Rand) string {
	pieces := []string{"a", "b", "c", "A", "k", "K", "s", "S", "ſ", "é", "1", "_", "-", ".", "\n", " ", "Ω", "{", "}", "&", "~", "]", "["}
	var out strings.Builder
	for i, n := 0, random.Intn(6); i < n; i++ {
		out.WriteString(pieces[random.Intn(len(pieces))])
	}
	return out.String()
}
