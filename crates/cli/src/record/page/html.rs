//! What makes text and numbers fit for a page. Everything a peer has said, and every
//! text out of a file, comes through [`Html`].

use std::fmt;

/// Text that stays text, between tags and in quoted attributes.
pub(super) struct Html<'a>(pub(super) &'a str);

impl fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// To a tenth of a pixel, short.
pub(super) fn px(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_71_nothing_that_ends_a_text_or_an_attribute_gets_through() {
        let evil = r#"</script><img src=x onerror="a('&')">"#;
        let safe = Html(evil).to_string();
        assert_eq!(safe, "&lt;/script&gt;&lt;img src=x onerror=&quot;a(&#39;&amp;&#39;)&quot;&gt;");
        assert_eq!(Html("é → plain").to_string(), "é → plain");
    }
}
