//! URI templates of the REST protocols: `/2018-10-31/layers/{LayerName}?find=LayerVersion`.

#[derive(Debug, Default)]
pub struct UriTemplate {
    /// The path up to the first label: most templates are not meant, and this says so soonest.
    prefix: String,
    pub segments: Vec<Segment>,
    /// Literal query parameters that tell operations on the same path apart.
    pub query: Vec<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Segment {
    Literal(String),
    /// One segment, bound to the URI member of this wire name.
    Label(String),
    /// One or more segments with the slashes between them.
    Greedy(String),
}

impl UriTemplate {
    pub(super) fn parse(text: &str) -> Self {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let query = query.split('&').filter(|pair| !pair.is_empty());
        let segments: Vec<Segment> = segments.map(Segment::parse).collect();
        let literals = segments.iter().map_while(|segment| match segment {
            Segment::Literal(literal) => Some(format!("/{literal}")),
            _ => None,
        });
        Self {
            prefix: literals.collect(),
            segments,
            query: query
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// The labels' wire names with their still encoded text, if `path` has this form. One slash at
    /// the end does not matter. A label is never empty, `.` or `..`: a signature covers the path
    /// with those resolved, so they must not select another operation.
    pub fn capture<'t, 'p>(&'t self, path: &'p str) -> Option<Vec<(&'t str, &'p str)>> {
        if !path.starts_with(&self.prefix) {
            return None;
        }
        let path = path.strip_prefix('/')?;
        let mut rest = Some(path.strip_suffix('/').unwrap_or(path)).filter(|path| !path.is_empty());
        let mut labels = Vec::new();
        for segment in &self.segments {
            let text = rest?;
            let (first, after) = match text.split_once('/') {
                Some((first, after)) => (first, Some(after)),
                None => (text, None),
            };
            match segment {
                Segment::Literal(literal) if literal == first => rest = after,
                Segment::Literal(_) => return None,
                Segment::Label(_) | Segment::Greedy(_) if matches!(first, "" | "." | "..") => {
                    return None;
                }
                Segment::Label(name) => {
                    labels.push((name.as_str(), first));
                    rest = after;
                }
                Segment::Greedy(name) => {
                    labels.push((name.as_str(), text));
                    rest = None;
                }
            }
        }
        rest.is_none().then_some(labels)
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            None => Self::Literal(text.to_owned()),
            Some(label) => match label.strip_suffix('+') {
                Some(label) => Self::Greedy(label.to_owned()),
                None => Self::Label(label.to_owned()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_literals_and_the_last_slash() {
        let template = UriTemplate::parse("/v1/functions/{Name}/policy");
        assert_eq!(template.capture("/v1/functions/a%3Ab/policy"), Some(vec![("Name", "a%3Ab")]));
        assert_eq!(template.capture("/v1/functions/a/policy/"), Some(vec![("Name", "a")]));
        for other in
            ["/v1/functions/a", "/v1/functions//policy", "/v1/functions/../policy", "", "/"]
        {
            assert_eq!(template.capture(other), None, "{other}");
        }
    }

    #[test]
    fn greedy_labels_keep_their_slashes() {
        let template = UriTemplate::parse("/{Bucket}/{Key+}");
        assert_eq!(template.capture("/b/a/b/c"), Some(vec![("Bucket", "b"), ("Key", "a/b/c")]));
        assert_eq!(template.capture("/b"), None);
    }
}
