use super::*;

fn root(text: &str) -> Rc<Node> {
    parse(text).expect("YAML").expect("a document")
}

fn get<'a>(node: &'a Node, key: &str) -> &'a Node {
    let Value::Mapping(entries) = &node.value else { panic!("{node:?}") };
    let entry = entries.iter().find(|entry| entry.key.as_text() == Some(key));
    &entry.unwrap_or_else(|| panic!("no {key}")).value
}

#[test]
fn scalars_convert_as_go_converts_them() {
    let node = root(
        "a: 1.0\nb: 'null'\nc: ~\nd: yes\ne: 0x10\nf: 5.7\ng: true\nh: '5'\ni: !!str true\nj: !!binary YWI=\nk: 010",
    );
    assert_eq!(get(&node, "a").as_text(), Some("1.0"));
    assert_eq!(get(&node, "b").as_text(), Some("null"));
    assert_eq!(get(&node, "c").as_text(), None);
    assert_eq!(get(&node, "d").as_bool(), Some(true));
    assert_eq!(get(&node, "e").as_int(), Some(16));
    assert_eq!(get(&node, "f").as_int(), Some(5));
    assert_eq!(get(&node, "g").as_text(), Some("true"));
    assert_eq!(get(&node, "h").as_int(), None);
    assert_eq!(get(&node, "i").as_bool(), None);
    assert_eq!(get(&node, "j").as_text(), Some("ab"));
    assert_eq!(get(&node, "k").as_int(), Some(8));
}

#[test]
fn what_a_mapping_says_itself_wins_over_what_is_merged() {
    let node = root("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}");
    let merged = get(&node, "z");
    for (key, want) in [("a", "0"), ("b", "1"), ("c", "2")] {
        assert_eq!(get(merged, key).as_text(), Some(want), "{key}");
    }
}

#[test]
fn only_the_first_document_is_read() {
    assert_eq!(get(&root("a: 1\n---\n[}"), "a").as_text(), Some("1"));
    assert!(parse("# nothing\n").expect("YAML").is_none());
    assert!(root("---\n").is_null());
}

#[test]
fn errors_say_where() {
    for (text, line, part) in [
        ("a: 1\nb: 2\na: 3", 3, "stands twice, first on line 1"),
        ("a: 1\nb: [", 2, ""),
        ("a: *none", 1, "anchor"),
        ("a: &a [*a]", 1, "itself"),
        ("a:\n  <<: 5", 2, "<<"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.message.contains(part), "{text}: {error}");
        assert!(error.mark.line >= line, "{text}: {error:?}");
    }
}

#[test]
fn expanding_aliases_is_limited() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..8 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(parse(&text).expect_err("too many").message.contains("aliases"));
    let deep = "[".repeat(150);
    assert!(parse(&format!("{deep}{}", "]".repeat(150))).is_err());
}
