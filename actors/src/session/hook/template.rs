//! Templates of hook mappings: `{{path.to[0].field}}` out of a payload (`agent-runtime` §19.1). Pure; a mapping is data
//! only.

use serde_json::Value;

/// Longest text a template may become, bytes: payloads are somebody else's.
const LONGEST: usize = 512 * 1024;

/// Fills a template. What is not in the payload is nothing; what is no text is JSON.
pub fn render(template: &str, payload: &Value, path: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((name, behind)) = after.split_once("}}") else {
            text.push_str("{{");
            rest = after;
            continue;
        };
        text.push_str(&value(name.trim(), payload, path));
        rest = behind;
        if text.len() > LONGEST {
            break;
        }
    }
    text.push_str(rest);
    if let Some(end) = (0..=LONGEST.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
    {
        text.truncate(end);
    }
    text
}

fn value(name: &str, payload: &Value, path: &str) -> String {
    if name == "path" {
        return path.to_owned();
    }
    match find(name.strip_prefix("payload.").unwrap_or(name), payload) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => other.to_string(),
    }
}

/// What stands at `a.b[0].c`.
fn find<'a>(name: &str, payload: &'a Value) -> Option<&'a Value> {
    let mut at = payload;
    for part in name.split('.') {
        let (field, mut indices) = part.split_once('[').map_or((part, ""), |(field, rest)| (field, rest));
        if !field.is_empty() {
            at = at.get(field)?;
        }
        while !indices.is_empty() {
            let (index, rest) = indices.split_once(']')?;
            at = at.get(index.trim().parse::<usize>().ok()?)?;
            indices = rest.strip_prefix('[').unwrap_or("");
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let payload =
            json!({"repo": {"name": "tea"}, "commits": [{"id": 7, "files": [["a"]]}], "ok": true, "none": null});
        for (template, expected) in [
            ("plain", "plain"),
            ("{{repo.name}}: {{ commits[0].id }}", "tea: 7"),
            ("{{payload.repo.name}} {{ok}}", "tea true"),
            ("{{commits[0].files[0][0]}}", "a"),
            ("<{{none}}{{missing.deep}}{{commits[9].id}}{{commits[x]}}>", "<>"),
            ("{{repo}}", r#"{"name":"tea"}"#),
            ("{{path}}", "github"),
            ("{{open", "{{open"),
            ("a }} b", "a }} b"),
        ] {
            assert_eq!(render(template, &payload, "github"), expected, "{template}");
        }
    }

    #[test]
    fn what_a_payload_says_is_no_template_and_has_an_end() {
        let payload = json!({"a": "{{b}}", "b": "secret", "long": "é".repeat(LONGEST)});
        assert_eq!(render("{{a}}", &payload, ""), "{{b}}");
        let long = render("{{long}}{{long}}x", &payload, "");
        assert!(long.len() <= LONGEST && long.len() > LONGEST - 4);
    }
}
