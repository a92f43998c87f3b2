//! `src/service/generated.rs` is what `buffa-codegen` makes of `src/service/messages.proto`.

#![allow(clippy::disallowed_methods, reason = "tests write files, and read the environment")]

use std::path::Path;

use buffa::Message;
use buffa_codegen::CodeGenConfig;
use buffa_codegen::generated::descriptor::FileDescriptorSet;

/// Set, it writes the file anew.
const OVERWRITE: &str = "FLYTE_LOCAL_TEST_OVERWRITE";

const HEADER: &str =
    "//! The messages of `messages.proto`, made by `buffa-codegen`; `tests/it/generated.rs` says how.\n\n";

#[test]
fn the_messages_are_those_of_their_description() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/service");
    let mut compiler = protox::Compiler::new([&directory]).expect("a directory of descriptions");
    compiler.include_imports(true).open_file("messages.proto").expect("a description");
    let described = compiler.encode_file_descriptor_set();
    let described = FileDescriptorSet::decode_from_slice(&described).expect("a descriptor");
    let mut config = CodeGenConfig::default();
    config.generate_views = false;
    config.generate_json = true;
    config.preserve_unknown_fields = false;
    config.emit_register_fn = false;
    config.file_per_package = true;
    config.idiomatic_imports = true;
    config.idiomatic_enum_aliases = false;
    let files = buffa_codegen::generate(&described.file, &["messages.proto".to_owned()], &config).expect("code");
    let [file] = &files[..] else { panic!("{} files", files.len()) };
    let made = format!("{HEADER}{}", file.content);
    let path = directory.join("generated.rs");
    if std::env::var_os(OVERWRITE).is_some() {
        std::fs::write(&path, &made).expect("written");
    }
    let found = std::fs::read_to_string(&path).expect("the file");
    assert!(made == found, "{} is old: {OVERWRITE}=1 cargo test --test it generated::", path.display());
}
