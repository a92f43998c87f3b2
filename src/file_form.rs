//! The form that a file really has, for files that cannot be read as what they should be.
//!
//! Git, editors and other systems change files: a parser that only says where it stopped sends its reader the wrong way. So
//! parsers ask here first, and their errors name the cause.

/// A form in which a file cannot be used. It tells positions, never content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileForm {
    /// No bytes at all.
    #[error("it is empty")]
    Empty,
    /// Zero bytes only, which some file systems leave after a power cut.
    #[error("it has only zero bytes, as a power cut can leave them")]
    Zeros,
    /// The pointer that Git LFS keeps in the place of a file.
    #[error("it is a Git LFS pointer, not the file itself")]
    LfsPointer,
    /// A file that git-crypt encrypted.
    #[error("it is encrypted with git-crypt")]
    GitCrypt,
    /// Git's marks around the two sides of a merge.
    #[error("it has the marks of a merge conflict, from line {line} on")]
    ConflictMarks {
        /// The line of the first mark, from 1.
        line: usize,
    },
    /// Text in UTF-16.
    #[error("it is text in UTF-16, not in UTF-8")]
    Utf16 {
        /// The name of the encoding for `iconv`: `UTF-16` if the file begins with a byte order mark.
        encoding: &'static str,
    },
    /// Bytes that are not UTF-8.
    #[error("line {line} is not UTF-8; it may be Windows-1252")]
    OtherEncoding {
        /// The line of the first such byte, from 1.
        line: usize,
    },
    /// Bytes that are not text in any of these encodings.
    #[error("it is not text")]
    Binary,
    /// UTF-8 after a byte order mark, where age and flyte-local take none: in files of keys.
    #[error("it begins with a byte order mark (BOM), which a file of keys must not have")]
    ByteOrderMark,
    /// An age file as text.
    #[error("it is an age file in armored form")]
    ArmoredAge,
    /// An age file in its binary form, in the place of text.
    #[error("it is an encrypted age file")]
    BinaryAge,
    /// An age file in which CR was added before each LF.
    #[error("its line ends were converted to CRLF")]
    ConvertedLineEnds,
}

/// The first line of a binary age file begins so.
const AGE: &[u8] = b"age-encryption.org/";

/// UTF-8's byte order mark.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The most bytes to look at for UTF-16 without a byte order mark.
const MOST_FOR_UTF16: usize = 4096;

impl FileForm {
    /// Recognises what is in the place of any file, binary or text.
    pub fn recognise(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::Empty);
        }
        if bytes.iter().all(|&byte| byte == 0) {
            return Some(Self::Zeros);
        }
        let without_mark = bytes.strip_prefix(UTF8_MARK).unwrap_or(bytes);
        let starts: [(&[u8], Self); 5] = [
            (b"version https://git-lfs.github.com/spec/", Self::LfsPointer),
            (b"\0GITCRYPT\0", Self::GitCrypt),
            (b"age-encryption.org/v1\r", Self::ConvertedLineEnds),
            (b"\xff\xfe", Self::Utf16 { encoding: "UTF-16" }),
            (b"\xfe\xff", Self::Utf16 { encoding: "UTF-16" }),
        ];
        let found = starts.into_iter().find(|(start, _)| without_mark.starts_with(start)).map(|(_, form)| form);
        found.or_else(|| conflict_marks(bytes)).or_else(|| {
            let is_armored = without_mark.trim_ascii_start().starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----");
            if is_armored { Some(Self::ArmoredAge) } else { utf16_without_mark(bytes) }
        })
    }

    /// Recognises what is in the place of a text file. A byte order mark of UTF-8 is left to the caller.
    pub fn recognise_text(bytes: &[u8]) -> Option<Self> {
        Self::recognise(bytes).or_else(|| match std::str::from_utf8(bytes) {
            _ if bytes.starts_with(AGE) => Some(Self::BinaryAge),
            Err(_) if !bytes.iter().all(|&byte| is_in_windows_1252(byte)) => Some(Self::Binary),
            Err(error) => Some(Self::OtherEncoding { line: 1 + lines_in(&bytes[..error.valid_up_to()]) }),
            Ok(_) => None,
        })
    }
}

/// Returns the text of a file that may be empty.
///
/// # Errors
/// Bytes that are not the text of a file of this kind.
pub fn text(bytes: &[u8]) -> Result<&str, FileForm> {
    match FileForm::recognise_text(bytes) {
        None | Some(FileForm::Empty) => Ok(std::str::from_utf8(bytes).expect("any other text has a form")),
        Some(form) => Err(form),
    }
}

/// Returns true if the text begins with UTF-8's byte order mark.
pub fn has_byte_order_mark(bytes: &[u8]) -> bool {
    bytes.starts_with(UTF8_MARK)
}

/// Finds git's three marks, each at the beginning of a line and in their order. One alone may be text.
fn conflict_marks(bytes: &[u8]) -> Option<FileForm> {
    let marks: [&[u8]; 3] = [b"<<<<<<<", b"=======", b">>>>>>>"];
    let (mut found, mut first) = (0, 0);
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let is_mark = |mark: &[u8]| line.strip_prefix(mark).is_some_and(|rest| matches!(rest, [] | [b' ' | b'\r', ..]));
        if is_mark(marks[found]) {
            first = if found == 0 { index + 1 } else { first };
            found += 1;
            if found == marks.len() {
                return Some(FileForm::ConflictMarks { line: first });
            }
        }
    }
    None
}

/// Finds text in UTF-16 by the zero bytes of its ASCII characters: in one half of each unit, and never in the other.
fn utf16_without_mark(bytes: &[u8]) -> Option<FileForm> {
    let units = bytes[..bytes.len().min(MOST_FOR_UTF16)].chunks_exact(2);
    let (mut first, mut second, all) = (0, 0, units.len());
    for unit in units {
        first += usize::from(unit[0] == 0);
        second += usize::from(unit[1] == 0);
    }
    // A text of one unit is too short to tell from two bytes.
    let encoding = match (first, second) {
        (0, zeros) if zeros > 1 && 2 * zeros >= all => "UTF-16LE",
        (zeros, 0) if zeros > 1 && 2 * zeros >= all => "UTF-16BE",
        _ => return None,
    };
    Some(FileForm::Utf16 { encoding })
}

/// Returns true for the bytes of text: those that Windows-1252 gives a character, and no control characters but white space.
fn is_in_windows_1252(byte: u8) -> bool {
    !matches!(byte, 0..=8 | 0x0e..=0x1f | 0x7f | 0x81 | 0x8d | 0x8f | 0x90 | 0x9d)
}

fn lines_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_files_have_no_other_form() {
        let binary_age = b"age-encryption.org/v1\n-> X25519 abc\n\xff\0\xfe\n--- mac\n\0\0\x80";
        assert_eq!(FileForm::recognise(binary_age), None);
        for text in ["A=1\n", "A='ä'\r\n", "\u{feff}A=1\n", "=======\n", "<<<<<<< is text\n=======\n", "a\0", "\n"] {
            assert_eq!(FileForm::recognise_text(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(text(b""), Ok(""));
    }

    #[test]
    fn other_encodings_are_told_from_bytes_that_are_not_text() {
        let form = |bytes: &[u8]| FileForm::recognise_text(bytes);
        assert_eq!(form(b"a\nb=\xe4\x80\n"), Some(FileForm::OtherEncoding { line: 2 }));
        assert_eq!(form(b"a\xe4\0"), Some(FileForm::Binary));
        assert_eq!(form(b"\x99\x01\x8d\x04"), Some(FileForm::Binary));
    }

    #[test]
    fn marks_of_a_conflict_are_found_with_any_line_ends() {
        let conflict = "a\n<<<<<<< HEAD\nb\n||||||| base\n=======\nc\n>>>>>>> theirs\n";
        for text in [conflict.to_owned(), conflict.replace('\n', "\r\n")] {
            assert_eq!(FileForm::recognise(text.as_bytes()), Some(FileForm::ConflictMarks { line: 2 }), "{text:?}");
        }
        assert_eq!(FileForm::recognise(b">>>>>>> a\n=======\n<<<<<<< b\n"), None);
        assert_eq!(FileForm::recognise(b"<<<<<<<<\n=======\n>>>>>>>\n"), None);
    }

    #[test]
    fn utf16_is_found_in_both_orders_with_and_without_a_mark() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        let form = |bytes: Vec<u8>| match FileForm::recognise(&bytes) {
            Some(FileForm::Utf16 { encoding }) => encoding,
            other => panic!("{other:?} {bytes:?}"),
        };
        for text in ["A=1\n", "API_KEY=größe 日\r\n", "<<<<<<< a\n=======\n>>>>>>> b\n"] {
            let little = |text: &str| units(text).iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let big = |text: &str| units(text).iter().flat_map(|unit| unit.to_be_bytes()).collect();
            assert_eq!((form(little(text)), form(big(text))), ("UTF-16LE", "UTF-16BE"), "{text}");
            let marked = format!("\u{feff}{text}");
            assert_eq!((form(little(&marked)), form(big(&marked))), ("UTF-16", "UTF-16"), "{text}");
        }
    }
}
