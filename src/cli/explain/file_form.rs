//! A file in another form than it should have, in words.

use std::path::Path;

use crate::cli::report::{ErrorReport, Exit};
use crate::cli::shell::quoted;
use flyte_local::file_form::FileForm;

/// Explains that a file cannot be read because of its form.
pub(crate) fn unreadable(path: &Path, form: FileForm) -> ErrorReport {
    let report = ErrorReport::new(Exit::Failed, format!("cannot read {}", path.display())).because(form.to_string());
    hints(form, path).into_iter().fold(report, ErrorReport::hint)
}

/// Returns the commands that give a file its right form, as far as there are any.
pub(crate) fn hints(form: FileForm, path: &Path) -> Vec<String> {
    let file = quoted(path);
    let rewritten = |command: &str| {
        format!("(umask 077 && {command} {file} > {file}.new && cat {file}.new > {file} && rm {file}.new)")
    };
    let git = in_directory_of(path);
    match form {
        // A backup has no device, such as /dev/null.
        FileForm::Empty if !path.is_file() => Vec::new(),
        FileForm::Empty | FileForm::Zeros | FileForm::Binary => vec!["restore it from a backup".to_owned()],
        FileForm::LfsPointer => vec![format!("get the file itself: {} lfs pull", git.0)],
        FileForm::GitCrypt => vec![format!("decrypt it: {} crypt unlock", git.0)],
        FileForm::ConflictMarks { .. } => {
            let side = |side: &str| format!("{} checkout --{side} -- {}", git.0, git.1);
            vec![format!("take one side, then repeat the other side's change: {}, or {}", side("ours"), side("theirs"))]
        }
        FileForm::Utf16 { encoding } => {
            vec![format!("convert it to UTF-8: {}", rewritten(&format!("iconv -f {encoding} -t UTF-8")))]
        }
        FileForm::OtherEncoding { .. } => {
            vec![format!("convert it to UTF-8, if it is Windows-1252: {}", rewritten("iconv -f WINDOWS-1252 -t UTF-8"))]
        }
        FileForm::ByteOrderMark => vec![format!("remove the mark: {}", rewritten("tail -c +4"))],
        FileForm::ArmoredAge | FileForm::BinaryAge => vec![format!("decrypt it first: age -d -i IDENTITY {file}")],
        FileForm::ConvertedLineEnds => vec![format!(
            "tell git that it is not text, with the line '*.age binary' in .gitattributes, and get it again: rm {file} && {} checkout -- {}",
            git.0, git.1
        )],
    }
}

/// Returns git with the option for a file's directory, and the file's name there.
fn in_directory_of(path: &Path) -> (String, String) {
    let name = quoted(Path::new(path.file_name().unwrap_or(path.as_os_str())));
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => (format!("git -C {}", quoted(parent)), name),
        None => ("git".to_owned(), name),
    }
}
