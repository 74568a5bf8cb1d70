//! Wildcards and variables in policies: `*`, `?` and `${key}`.
//!
//! What a variable stands for is matched as it is, so a name with a `*` in it matches nothing but
//! itself. A variable without a value matches nothing at all.

use super::evaluate::Context;

enum Token<'a> {
    Text(&'a str),
    Owned(String),
    One,
    Any,
}

/// Whether `text` is what `pattern` describes.
pub fn matches(pattern: &str, text: &str, context: &Context) -> bool {
    tokens(pattern, context).is_some_and(|tokens| matches_tokens(&tokens, text))
}

/// The same for ARNs, part by part: a wildcard in one of the first five parts does not reach into
/// the next. What is no ARN is compared as text.
pub fn matches_arn(pattern: &str, text: &str, context: &Context) -> bool {
    let split = |arn: &'_ str| arn.splitn(6, ':').count() == 6;
    if !split(pattern) || !split(text) || pattern.contains("${") {
        return matches(pattern, text, context);
    }
    pattern
        .splitn(6, ':')
        .zip(text.splitn(6, ':'))
        .all(|(pattern, text)| matches(pattern, text, context))
}

/// A value in a policy, its variables replaced. `None`: one of them has no value.
pub fn expand(value: &str, context: &Context) -> Option<String> {
    let mut text = String::new();
    for token in tokens(value, context)? {
        match token {
            Token::Text(part) => text.push_str(part),
            Token::Owned(part) => text.push_str(&part),
            Token::One => text.push('?'),
            Token::Any => text.push('*'),
        }
    }
    Some(text)
}

fn tokens<'a>(pattern: &'a str, context: &Context) -> Option<Vec<Token<'a>>> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?', '$']) {
        let (text, special) = rest.split_at(at);
        if !text.is_empty() {
            tokens.push(Token::Text(text));
        }
        let variable = special.strip_prefix("${").and_then(|inside| inside.split_once('}'));
        rest = match (variable, special.chars().next()) {
            (Some((name, after)), _) => {
                tokens.push(variable_token(name, context)?);
                after
            }
            (None, Some('*')) => {
                if !matches!(tokens.last(), Some(Token::Any)) {
                    tokens.push(Token::Any);
                }
                &special[1..]
            }
            (None, Some('?')) => {
                tokens.push(Token::One);
                &special[1..]
            }
            _ => {
                tokens.push(Token::Text("$"));
                special.get(1..).unwrap_or_default()
            }
        };
    }
    if !rest.is_empty() {
        tokens.push(Token::Text(rest));
    }
    Some(tokens)
}

fn variable_token(name: &str, context: &Context) -> Option<Token<'static>> {
    // AWS: `${*}`, `${?}` and `${$}` are the characters themselves.
    if matches!(name, "*" | "?" | "$") {
        return Some(Token::Owned(name.to_owned()));
    }
    let (key, default) = match name.split_once(',') {
        Some((key, default)) => (key.trim(), Some(default.trim().trim_matches('\''))),
        None => (name, None),
    };
    let value = match context.get(key) {
        Some([value]) => Some(value.clone()),
        // AWS: only keys with one value are variables.
        _ => default.map(str::to_owned),
    };
    value.map(Token::Owned)
}

/// Goes back to the last `*` only, which is enough, so the work is at most the product of the
/// lengths.
fn matches_tokens(tokens: &[Token<'_>], text: &str) -> bool {
    let (mut token, mut rest) = (0, text);
    let mut retry: Option<(usize, &str)> = None;
    loop {
        let step = match tokens.get(token) {
            Some(Token::Any) => {
                retry = Some((token + 1, rest));
                token += 1;
                continue;
            }
            Some(Token::One) => next_char(rest),
            Some(Token::Text(part)) => rest.strip_prefix(part),
            Some(Token::Owned(part)) => rest.strip_prefix(part.as_str()),
            None if rest.is_empty() => return true,
            None => None,
        };
        match (step, retry) {
            (Some(after), _) => (token, rest) = (token + 1, after),
            (None, Some((after_any, from))) => match next_char(from) {
                Some(from) => {
                    retry = Some((after_any, from));
                    (token, rest) = (after_any, from);
                }
                None => return false,
            },
            (None, None) => return false,
        }
    }
}

fn next_char(text: &str) -> Option<&str> {
    let mut chars = text.chars();
    chars.next()?;
    Some(chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(pattern: &str, text: &str) -> bool {
        matches(pattern, text, &Context::default())
    }

    #[test]
    fn wildcards() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("a?c", "äbc".replace('ä', "a").as_str()), ("*b*", "abc")]
        {
            assert!(plain(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a?c", "ac"), ("a*b", "abc"), ("A", "a")] {
            assert!(!plain(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_wildcard_stays_in_its_part_of_an_arn() {
        let context = Context::default();
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:a:live";
        assert!(matches_arn("arn:aws:lambda:*:*:function:a:*", arn, &context));
        assert!(matches_arn("arn:aws:lambda:*:*:*", arn, &context));
        assert!(!matches_arn("arn:aws:*:function:a:live", arn, &context));
        assert!(!matches_arn("arn:aws:lambda:*:function:*:live", arn, &context));
        assert!(matches_arn("*", arn, &context));
    }

    #[test]
    fn variables_are_text() {
        let mut context = Context::default();
        context.set("aws:username", "a*");
        assert!(matches("home/${aws:username}/?", "home/a*/x", &context));
        assert!(!matches("home/${aws:username}/?", "home/ab/x", &context));
        assert!(!matches("${aws:userid}*", "x", &context));
        assert!(matches("${aws:userid, 'x'}", "x", &context));
        assert!(matches("${*}", "*", &context));
        assert!(!matches("${*}", "a", &context));
        assert!(matches("cost $5 ${", "cost $5 ${", &context));
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_and_what_is_left_of_it(text in "[a-zé]{0,12}", cut in 0usize..12) {
            prop_assert!(plain(&text, &text));
            let prefix: String = text.chars().take(cut).collect();
            let pattern = format!("{prefix}*");
            prop_assert!(plain(&pattern, &text));
            let masked = "?".repeat(text.chars().count());
            prop_assert!(plain(&masked, &text));
        }

        #[test]
        fn nothing_hangs_or_panics(pattern in "[*?a${}:]{0,40}", text in "\\PC{0,60}") {
            plain(&pattern, &text);
            matches_arn(&pattern, &text, &Context::default());
        }
    }
}
