//! What each language matches, what it refuses, and that nothing makes it panic.

use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, message: &str) -> bool {
    FilterPattern::parse(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}")).matches(message)
}

#[test]
fn terms() {
    let line = "[ERROR 401] UNAUTHORIZED REQUEST from 10.0.0.1";
    for yes in [
        "",
        "  ",
        "ERROR",
        "ERROR REQUEST",
        "AUTHORIZED",
        r#""ERROR 401""#,
        "-WARN",
        "ERROR -WARN",
        "?WARN ?ERROR",
        r#"?"10.0.0.1""#,
        r"%ERROR 4\d\d%",
        "%4[0-9]{2}%",
        "-%5[0-9]{2}%",
        // `?` beside other kinds is ignored.
        "ERROR ?WARN",
    ] {
        assert!(matches(yes, line), "{yes:?}");
    }
    for no in ["error", "ERROR WARN", r#""ERROR REQUEST""#, "-ERROR", "?WARN ?INFO", "%5..%"] {
        assert!(!matches(no, line), "{no:?}");
    }
    assert!(matches(r#""say \"hi\"""#, r#"they say "hi" there"#));
}

#[test]
fn json() {
    let event = r#"{"level":"ERROR","n":5,"f":1.5e3,"ok":true,"nil":null,"ip":"10.0.0.7",
        "user":{"name":"ann","tags":["a","b",{"c":1}]},"my.key":"v","code":"200"}"#;
    for yes in [
        r#"{ $.level = "ERROR" }"#,
        "{$.level=ERROR}",
        r#"{ $.level = "ERR*" }"#,
        r#"{ $.ip = 10.*.7 }"#,
        r#"{ $.ip = %^10\.0\.0\.[1-9]$% }"#,
        r#"{ $.level != "WARN" }"#,
        "{ $.n >= 5 && $.n < 6 && $.n = 5.0 }",
        "{ $.f > 1e3 }",
        "{ $.ok IS TRUE }",
        "{ $.nil IS NULL }",
        "{ $.nothing NOT EXISTS }",
        r#"{ $.user.name = "ann" }"#,
        r#"{ $.user.tags[1] = "b" }"#,
        r#"{ $.user.tags[*] = "b" }"#,
        "{ $.user.tags[2].c = 1 }",
        r#"{ $.user.* = "ann" }"#,
        r#"{ $["my.key"] = "v" }"#,
        "{ $.['my.key'] = v }",
        "{ $.code = 200 }",
        "{ $.n = 9 || ($.n = 5 && ($.ok IS FALSE || $.ok IS TRUE)) }",
        // && binds more tightly.
        "{ $.n = 5 || $.n = 9 && $.n = 8 }",
    ] {
        assert!(matches(yes, event), "{yes}");
    }
    for no in [
        r#"{ $.level = "error" }"#,
        "{ $.n > 5 }",
        "{ $.n != 5 }",
        r#"{ $.missing != "x" }"#,
        "{ $.ok IS FALSE }",
        "{ $.n NOT EXISTS }",
        r#"{ $.user.tags[9] = "b" }"#,
        r#"{ $.user = "*" }"#,
        "{ ($.n = 5 || $.n = 9) && $.n = 8 }",
    ] {
        assert!(!matches(no, event), "{no}");
    }
    assert!(!matches("{ $.a NOT EXISTS }", "plain text"));
    assert!(matches("{ $[0].a = 1 }", r#"[{"a":1}]"#));
}

#[test]
fn columns() {
    let line =
        r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;
    for yes in [
        "[ip, id, user, time, request, status, size]",
        "[ip, id, user, time, request = *html*, status = 4*, size]",
        "[ip=%127\\.0\\.0\\.[1-9]%, id, user, time, request, status, size >= 1534]",
        "[..., size > 1000]",
        "[ip, ..., status, size]",
        "[..., status = 404 || status = 410, size]",
        "[..., (status = 4* && status != 403), size]",
        r#"[ip, id, user = "frank", ...]"#,
        "[...]",
    ] {
        assert!(matches(yes, line), "{yes}");
    }
    for no in [
        "[ip, id, user]",
        "[..., size < 1000]",
        "[ip, id, user = bob, ...]",
        "[..., status = 4* && status != 404, size]",
        "[a, b, c, d, ..., e, f, g, h]",
    ] {
        assert!(!matches(no, line), "{no}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(40), ")".repeat(40));
    for bad in [
        "{",
        "{}",
        "{ }",
        "{ $ = 1 }",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1",
        "{ $.a = 1 } x",
        "{ $.a < x }",
        "{ $.a IS 5 }",
        "{ $.a = 1 && }",
        "{ ($.a = 1 }",
        "{ $.a[x] = 1 }",
        "{ $..a = 1 }",
        "[",
        "[]",
        "[a",
        "[a,]",
        "[..., ...]",
        "[a = ]",
        "[a = 1 || b = 2]",
        "\"open",
        "%open",
        "%a(b)%",
        "%(?=a)%",
        "%\\1%",
        "%!%",
        "%%",
        "-",
        "?",
        "%[%",
        "%\\w{100000}%",
        "%a% %b% %c%",
        &deep,
    ] {
        assert_eq!(FilterPattern::parse(bad).err(), Some(PatternError::Invalid), "{bad}");
    }
    assert_eq!(
        FilterPattern::parse("127.0.0.1").unwrap_err().to_string(),
        "Invalid character(s) in term '127.0.0.1'"
    );
    assert!(FilterPattern::parse(&"a".repeat(1025)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(pattern in ".{0,200}", message in ".{0,200}") {
        if let Ok(pattern) = FilterPattern::parse(&pattern) {
            pattern.matches(&message);
        }
    }

    #[test]
    fn nothing_that_looks_like_a_pattern_makes_it_panic(
        pattern in r#"[\[{]?( ?(\$\.a|\[0\]|[(),=<>!&|*"%?.-]|\.\.\.|IS NULL|\[|\]|\}|[ab1é])){0,40}[\]}]?"#,
        message in r#"([ab1é \[\]{}:",]){0,40}"#,
    ) {
        if let Ok(pattern) = FilterPattern::parse(&pattern) {
            pattern.matches(&message);
        }
    }

    #[test]
    fn a_quoted_phrase_is_found_where_it_is(before in "[a-z ]{0,9}", phrase in "[a-z .-]{1,9}") {
        let pattern = FilterPattern::parse(&format!("\"{phrase}\"")).unwrap();
        let text = format!("{}{}", before, phrase);
        prop_assert!(pattern.matches(&text));
        prop_assert!(!pattern.matches(&before) || before.contains(&phrase));
    }
}
