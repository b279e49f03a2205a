use serde_json::Value;
use url::Url;

use super::*;

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_default()
}

/// One of AWS' own cases.
fn check(case: &Value) {
    let (head, body) = text(case, "request").split_once("\n\n").unwrap_or((text(case, "request"), ""));
    let head = head.replace("\n ", " ");
    let mut lines = head.lines();
    let mut request_line = lines.next().unwrap().split(' ');
    let method: Method = request_line.next().unwrap().parse().unwrap();
    let url = Url::parse(&format!("http://h{}", request_line.next().unwrap())).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(HeaderName::try_from(name).unwrap(), value.trim().parse().unwrap());
    }
    if case["sign_body"] == Value::Bool(true) {
        let sum = sha256(body.as_bytes());
        headers.insert(HeaderName::from_static("x-amz-content-sha256"), sum.parse().unwrap());
    }
    let token = case["token"].as_str().filter(|_| case["omit_session_token"] != Value::Bool(true));
    let credentials = AwsCredentials {
        access_key: text(case, "access_key").to_owned(),
        secret_key: outrigger_model::secret::Secret::new(text(case, "secret_key")),
        session_token: token.map(outrigger_model::secret::Secret::new),
    };
    let time: jiff::Timestamp = text(case, "timestamp").parse().unwrap();
    let scope = Scope {
        region: text(case, "region"),
        service: text(case, "service"),
        time: Timestamp::from_millis(time.as_millisecond()),
    };
    let request = Outgoing { method: &method, url: &url, body: body.as_bytes() };
    sign(&request, &mut headers, &credentials, &scope).unwrap();
    let (canonical, _) = canonical_request(&request, &headers).unwrap();
    let (name, mut expected) = (text(case, "name"), text(case, "canonical").to_owned());
    let signature = headers[AUTHORIZATION].to_str().unwrap().rsplit('=').next().unwrap().to_owned();
    // The cases write these two paths as they are before the escaping that every HTTP client does.
    let escaped_twice = ["get-utf8", "get-space-normalized"].contains(&name);
    if escaped_twice {
        let line = expected.lines().nth(1).unwrap().to_owned();
        expected = expected.replace(&line, &line.replace('%', "%25"));
    }
    assert_eq!(canonical, expected, "{name}");
    if !escaped_twice {
        assert_eq!(signature, text(case, "signature"), "{name}");
    }
}

#[test]
fn the_signatures_are_those_of_aws_own_test_suite() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/aws-signing-v4.json");
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(cases.len(), 31);
    cases.iter().for_each(check);
}

#[test]
fn a_path_is_escaped_twice_and_a_query_is_sorted() {
    for (path, expected) in [
        ("/", "/"),
        ("//", "/"),
        ("/workspaces/ws-1/api/v1/remote_write", "/workspaces/ws-1/api/v1/remote_write"),
        ("/test/@connections/JBDvjfGEIAMCERw%3D", "/test/%40connections/JBDvjfGEIAMCERw%253D"),
        ("/a//b/", "/a/b/"),
    ] {
        assert_eq!(canonical_path(path), expected);
    }
    assert_eq!(canonical_query("b=2&a=x+y&a=%2F&c"), "a=%2F&a=x%20y&b=2&c=");
}
