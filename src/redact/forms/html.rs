//! Character references of HTML and XML.

use super::{Form, HexDigits, written};

/// How a program writes characters. Each string has a character and, after it, the reference.
struct HtmlStyle {
    references: &'static [&'static str],
    beyond_ascii: HtmlBeyondAscii,
}

#[derive(Clone, Copy)]
enum HtmlBeyondAscii {
    AsIs,
    Decimal,
    Hexadecimal,
}

const STYLES: [HtmlStyle; 15] = {
    const fn style(references: &'static [&'static str], beyond_ascii: HtmlBeyondAscii) -> HtmlStyle {
        HtmlStyle { references, beyond_ascii }
    }
    [
        // Text, and text in ASCII (`xmlcharrefreplace`); an attribute, as the DOM and as XML writes it.
        style(&["&&amp;", "<&lt;", ">&gt;"], HtmlBeyondAscii::AsIs),
        style(&["&&amp;", "<&lt;", ">&gt;"], HtmlBeyondAscii::Decimal),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;"], HtmlBeyondAscii::AsIs),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "\n&#10;", "\r&#13;", "\t&#09;"], HtmlBeyondAscii::Decimal),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "\n&#xA;", "\r&#xD;", "\t&#x9;"], HtmlBeyondAscii::Hexadecimal),
        // Python, other languages (&#39;), PHP, XML.
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&#x27;"], HtmlBeyondAscii::AsIs),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&#x27;"], HtmlBeyondAscii::Decimal),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&#39;"], HtmlBeyondAscii::AsIs),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&#039;"], HtmlBeyondAscii::AsIs),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&apos;"], HtmlBeyondAscii::AsIs),
        // Jinja; Go.
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&#34;", "'&#39;"], HtmlBeyondAscii::AsIs),
        style(&["&&amp;", "<&lt;", ">&gt;", "\"&#34;", "'&#39;", "+&#43;"], HtmlBeyondAscii::AsIs),
        // Mustache.
        style(
            &["&&amp;", "<&lt;", ">&gt;", "\"&quot;", "'&#39;", "/&#x2F;", "`&#x60;", "=&#x3D;"],
            HtmlBeyondAscii::AsIs,
        ),
        // Numbers only.
        style(&["&&#38;", "<&#60;", ">&#62;", "\"&#34;", "'&#39;"], HtmlBeyondAscii::Decimal),
        style(&["&&#x26;", "<&#x3C;", ">&#x3E;", "\"&#x22;", "'&#x27;"], HtmlBeyondAscii::Hexadecimal),
    ]
};

pub(super) fn escaped(text: &str) -> Vec<Form> {
    let mut forms: Vec<_> = STYLES.iter().map(|style| form(text, style, HexDigits::Upper)).collect();
    let hexadecimal = STYLES.iter().filter(|style| matches!(style.beyond_ascii, HtmlBeyondAscii::Hexadecimal));
    forms.extend(hexadecimal.map(|style| form(text, style, HexDigits::Lower)));
    forms
}

fn form(text: &str, style: &HtmlStyle, digits: HexDigits) -> Form {
    written(text.chars(), 10 * text.len(), |character, form| {
        let reference = style.references.iter().find_map(|reference| reference.strip_prefix(character));
        let code = u32::from(character);
        let written = match (reference, style.beyond_ascii) {
            (Some(reference), _) if digits == HexDigits::Lower => reference.to_ascii_lowercase(),
            (Some(reference), _) => reference.to_owned(),
            (None, HtmlBeyondAscii::Decimal) if code > 0x7f => format!("&#{code};"),
            (None, HtmlBeyondAscii::Hexadecimal) if code > 0x7f && digits == HexDigits::Lower => {
                format!("&#x{code:x};")
            }
            (None, HtmlBeyondAscii::Hexadecimal) if code > 0x7f => format!("&#x{code:X};"),
            (None, _) => character.to_string(),
        };
        form.extend(written.bytes());
    })
}
