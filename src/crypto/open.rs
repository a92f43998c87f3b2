//! Opening an envelope, and reading its header without a key.

use std::cell::OnceCell;
use std::io::Read;

use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

use super::Identities;
use super::envelope::{Binding, Commitment, EnvelopeError, MAX_FILE_BYTES, Peeked, commit, copy, is_binding};
use super::header::{MeasuredFile, SIGNED_TAG, measure};
use super::stanzas::{self, HeaderStanza};
use super::wanted::Wanted;
use crate::secret::SecretValue;

/// The nonce that follows an age header.
const NONCE_BYTES: usize = 16;

/// A secret as it was read, after every check of age's has passed.
pub struct Opened {
    /// The binding.
    pub binding: Binding,
    /// The recipients, as far as stanzas show them.
    pub wanted: Wanted,
    /// The payload.
    pub value: SecretValue,
    /// The commitment to the payload that a signed binding must hold.
    pub commitment: Commitment,
}

/// Opens a whole file, with identities one by one, each as if there were no other. So their order does not change the result. The
/// value is returned only when the header's MAC and the payload were valid to the end.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn open(file: &[u8], identities: &dyn Identities) -> Result<Opened, EnvelopeError> {
    find_and_open(file, identities).map_err(|error| error.with_cause(file))
}

fn find_and_open(file: &[u8], identities: &dyn Identities) -> Result<Opened, EnvelopeError> {
    let stanzas = Stanzas::read_file(file)?;
    let mut result = Err(EnvelopeError::NoMatchingIdentity);
    identities.find(&stanzas.wanted(), &mut |identity| {
        match identity.unwrap(&stanzas) {
            None => return false,
            // As age does: a key of OpenSSH has a tag, so this stanza is meant for it.
            Some(Err(_)) => result = Err(EnvelopeError::Tampered),
            Some(Ok(file_key)) => match payload(file, &file_key) {
                Err(error) => result = Err(error),
                Ok(payload) => {
                    result = stanzas.opened(file, &file_key, payload);
                    return true;
                }
            },
        }
        false
    });
    result
}

/// Opens a whole file with its own key.
///
/// # Errors
/// See [`EnvelopeError`]. A file that is not encrypted to any recipient fails, too.
pub(super) fn open_with_file_key(file: &[u8], file_key: &FileKey) -> Result<Opened, EnvelopeError> {
    let stanzas = Stanzas::read_file(file)?;
    if !stanzas.have_recipient() {
        return Err(EnvelopeError::NoMatchingIdentity);
    }
    stanzas.opened(file, file_key, payload(file, file_key)?)
}

/// To whom a file is encrypted, as its header says, unverified; nothing of a header that is malformed.
///
/// `start` is as [`peek`] takes it.
pub fn wanted(start: &[u8]) -> Wanted {
    Stanzas::of(start).map_or_else(|_| Wanted::default(), |stanzas| stanzas.wanted())
}

/// The binding and the recipients in a file's header, unverified: without an identity nothing can vouch for them.
///
/// `start` is the file's first bytes, [`super::header::MAX_HEADER_BYTES`] and a little more at the most.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn peek(start: &[u8]) -> Result<Peeked, EnvelopeError> {
    Stanzas::of(start).and_then(|stanzas| stanzas.peeked()).map_err(|error| error.with_cause(start))
}

/// Returns the payload of a file whose header has a valid MAC under this key. No two keys have the same MAC.
fn payload(file: &[u8], file_key: &FileKey) -> Result<impl Read, EnvelopeError> {
    let identity = FileKeyIdentity(file_key);
    let payload = MeasuredFile::new(file)?.decryptor()?.decrypt(std::iter::once(&identity as &dyn age::Identity));
    payload.map_err(|_| EnvelopeError::Tampered)
}

/// The stanzas of a header, unverified.
pub(super) struct Stanzas<'f> {
    all: Vec<HeaderStanza<'f>>,
    /// The same in age's form, once an identity needs it.
    in_ages_form: OnceCell<Vec<Stanza>>,
}

impl<'f> Stanzas<'f> {
    /// Reads the header at the beginning of a file.
    fn of(start: &'f [u8]) -> Result<Self, EnvelopeError> {
        let end = measure(start)?;
        let all = stanzas::read(&start[..end])?;
        if start.len() - end < NONCE_BYTES {
            return Err(EnvelopeError::Truncated);
        }
        stanzas::check(&all)?;
        Ok(Self { all, in_ages_form: OnceCell::new() })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HeaderStanza<'f>> {
        self.all.iter()
    }

    pub(super) fn in_ages_form(&self) -> &[Stanza] {
        self.in_ages_form.get_or_init(|| self.iter().map(HeaderStanza::to_age).collect())
    }

    /// Reads the header of a file that may be opened.
    fn read_file(file: &'f [u8]) -> Result<Self, EnvelopeError> {
        if file.len() > MAX_FILE_BYTES {
            return Err(EnvelopeError::FileTooLarge);
        }
        Self::of(file)
    }

    fn wanted(&self) -> Wanted {
        Wanted::by(self.iter().map(|stanza| (stanza.tag, stanza.arguments().next())))
    }

    /// Returns `true` if a stanza is one for a recipient: neither the binding nor the random one that age adds.
    fn have_recipient(&self) -> bool {
        self.iter().any(|stanza| !is_binding(stanza.tag) && !stanza.tag.ends_with("-grease"))
    }

    fn peeked(&self) -> Result<Peeked, EnvelopeError> {
        let mut bindings = self.iter().filter(|stanza| is_binding(stanza.tag));
        match (bindings.next(), bindings.next()) {
            (Some(binding), None) if binding.arguments().next().is_none() => {
                let binding = Binding { is_signed: binding.tag == SIGNED_TAG, body: binding.body() };
                Ok(Peeked { binding, wanted: self.wanted() })
            }
            _ => Err(EnvelopeError::NoBinding),
        }
    }

    /// Reads the payload to its end.
    fn opened(&self, file: &[u8], file_key: &FileKey, mut payload: impl Read) -> Result<Opened, EnvelopeError> {
        let Peeked { binding, wanted } = self.peeked()?;
        // With the room reserved at once, the vector never grows and leaves no copy of the value behind.
        let mut value = Zeroizing::new(Vec::with_capacity(file.len()));
        payload.read_to_end(&mut value).map_err(|_| EnvelopeError::Tampered)?;
        let value = SecretValue::new(value).map_err(|_| EnvelopeError::FileTooLarge)?;
        Ok(Opened { binding, wanted, commitment: commit(file_key, &value), value })
    }
}

/// An identity that has the key of one file.
struct FileKeyIdentity<'a>(&'a FileKey);

impl age::Identity for FileKeyIdentity<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        Some(Ok(copy(self.0)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::disallowed_methods,
        clippy::print_stdout,
        reason = "a test reads its own variables, and prints its seed"
    )]

    use std::cell::RefCell;
    use std::path::Path;

    use super::*;
    use crate::crypto::{Identity, seal};

    /// An identity that opens nothing, and keeps the stanzas that age shows it.
    #[derive(Default)]
    struct StanzaCollector(RefCell<Vec<Stanza>>);

    impl age::Identity for StanzaCollector {
        fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
            self.unwrap_stanzas(std::slice::from_ref(stanza))
        }

        fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
            let copied = |stanza: &Stanza| {
                let (tag, args, body) = (stanza.tag.clone(), stanza.args.clone(), stanza.body.clone());
                Stanza { tag, args, body }
            };
            *self.0.borrow_mut() = stanzas.iter().map(copied).collect();
            None
        }
    }

    /// Returns the stanzas as age's parser reads them, within the limits; `None` if it refuses the file.
    fn by_age(file: &[u8]) -> Option<Vec<Stanza>> {
        let decryptor = MeasuredFile::new(file).ok()?.decryptor().ok()?;
        let collector = StanzaCollector::default();
        let found = decryptor.decrypt(std::iter::once(&collector as &dyn age::Identity));
        matches!(found, Err(age::DecryptError::NoMatchingKeys)).then(|| collector.0.into_inner())
    }

    /// Returns `true` if the stanzas of a header are as `docs/vault-format.md` says, and age's parser does not ask: a line of
    /// fewer than 64 characters ends each body.
    fn is_strict(file: &[u8]) -> bool {
        let text = std::str::from_utf8(&file[..measure(file).expect("age read it")]).expect("age read it");
        let lines: Vec<_> = text.lines().collect();
        lines.windows(2).all(|pair| {
            let starts = |line: &str| line.starts_with("-> ") || line.starts_with("--- ");
            !starts(pair[1]) || pair[0].starts_with("age-") || (!starts(pair[0]) && pair[0].len() < 64)
        })
    }

    /// Checks that both readers find the same in a file. Returns `true` if both accept it.
    fn agree(file: &[u8]) -> bool {
        let ours = measure(file).ok().and_then(|end| {
            let stanzas = stanzas::read(&file[..end]).ok()?;
            (file.len() >= end + NONCE_BYTES).then(|| stanzas.iter().map(HeaderStanza::to_age).collect::<Vec<_>>())
        });
        // age refuses a passphrase beside other stanzas itself. Here, no stanza of that kind has a known form.
        let is_refused = |stanzas: &[Stanza]| stanzas.len() > 1 && stanzas.iter().any(|stanza| stanza.tag == "scrypt");
        let ours = ours.filter(|stanzas| !is_refused(stanzas));
        let ages = by_age(file).filter(|_| is_strict(file));
        assert_eq!(ours, ages, "{:?}", String::from_utf8_lossy(file));
        ours.is_some()
    }

    /// The files of the vectors and of the fuzz corpora, and some of our own.
    fn seeds() -> Vec<Vec<u8>> {
        fn collect(directory: &Path, found: &mut Vec<Vec<u8>>) {
            for entry in std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("listed").path()) {
                if entry.is_dir() {
                    collect(&entry, found);
                } else {
                    found.push(std::fs::read(entry).expect("read"));
                }
            }
        }
        let (root, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")), Vec::new());
        collect(&root.join("fixtures/vault-format"), &mut found);
        collect(&root.join("fuzz/corpus/header"), &mut found);
        let value = SecretValue::new(b"value".to_vec().into()).expect("small");
        // Bodies of one line, of a full one, and of several.
        for length in [0, 1, 47, 48, 49, 500] {
            let recipients = [Identity::generate().recipient(), crate::crypto::Recipient::random_rsa()];
            found.push(seal(&value, &|_| vec![b'b'; length], &recipients).expect("it seals").bytes);
        }
        found
    }

    struct Random(u64);

    impl Random {
        /// Returns a number below `bound`.
        fn below(&mut self, bound: usize) -> usize {
            // Xorshift.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound.max(1) as u64) as usize
        }
    }

    /// Changes a file, near its header more often than elsewhere.
    fn mutate(file: &mut Vec<u8>, other: &[u8], random: &mut Random) {
        const PIECES: [&[u8]; 12] = [
            b"\n",
            b" ",
            b"-> ",
            b"--- ",
            b"=",
            b"A",
            b"\n\n",
            b"-> X25519 ",
            b"\r\n",
            b"\xc3\xa9",
            b"-> scrypt a 1\n\n",
            b"+/",
        ];
        let end = measure(file).unwrap_or(file.len().min(400)) + 20;
        let at = random.below(end.min(file.len()));
        match random.below(7) {
            0 if at < file.len() => file[at] ^= 1 << random.below(8),
            1 if at < file.len() => file[at] = random.below(256) as u8,
            2 if at < file.len() => drop(file.remove(at)),
            3 => drop(file.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
            // A line, or several, removed or moved.
            4 => {
                let starts: Vec<_> =
                    file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
                if starts.len() > 1 {
                    let line = random.below(starts.len() - 1);
                    let cut: Vec<_> = file.drain(starts[line]..starts[line + 1]).collect();
                    if random.below(2) == 0 {
                        let at = starts[random.below(line + 1)];
                        file.splice(at..at, cut);
                    }
                }
            }
            5 => {
                let (from, length) = (random.below(other.len()), random.below(200));
                file.splice(at..at, other[from..].iter().copied().take(length));
            }
            _ => file.truncate(at),
        }
    }

    #[test]
    fn the_reader_of_stanzas_agrees_with_ages_parser() {
        let count = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 1_000_000 } else { 20_000 };
        let given = std::env::var("FLYTE_LOCAL_TEST_SEED").ok().map(|seed| seed.parse().expect("a number"));
        let mut bytes = [0; 8];
        getrandom::getrandom(&mut bytes).expect("randomness");
        let seed = given.unwrap_or(u64::from_le_bytes(bytes) | 1);
        println!("FLYTE_LOCAL_TEST_SEED={seed}");
        let (mut random, seeds) = (Random(seed), seeds());
        let sound = seeds.iter().filter(|file| agree(file)).count();
        assert!(sound > 100, "{sound} files have a sound header");
        let mut accepted = 0;
        for _ in 0..count {
            let mut file = seeds[random.below(seeds.len())].clone();
            // The payload does not matter.
            file.truncate(measure(&file).unwrap_or(file.len()).saturating_add(40).min(8 << 10));
            for _ in 0..=random.below(3) {
                mutate(&mut file, &seeds[random.below(seeds.len())], &mut random);
            }
            accepted += usize::from(agree(&file));
        }
        assert!(accepted > count / 100, "{accepted} of {count} changed files were accepted");
    }

    #[test]
    fn an_identity_opens_what_ages_own_opens() {
        let value = SecretValue::new(b"value".to_vec().into()).expect("small");
        for _ in 0..20 {
            let (one, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
            let recipients = [&one, &other].map(|key| crate::crypto::Recipient::from(key.to_public()));
            let sealed = seal(&value, &|_| b"binding".to_vec(), &recipients[..1]).expect("it seals");
            let stanzas = Stanzas::read_file(&sealed.bytes).expect("sound");
            for (key, recipient) in [&one, &other].into_iter().zip(&recipients) {
                use age_core::secrecy::ExposeSecret;
                let ours = Identity::parse_key(key.to_string().expose_secret()).expect("age's own text");
                assert_eq!(&ours.recipient(), recipient);
                let key_of =
                    |found: Option<Result<FileKey, _>>| found.map(|key| key.map(|key| *key.expose_secret()).ok());
                let ages = key_of(age::Identity::unwrap_stanzas(key, stanzas.in_ages_form()));
                assert_eq!(key_of(ours.unwrap(&stanzas)), ages);
                assert_eq!(ages.is_some(), std::ptr::eq(key, &one));
            }
        }
    }
}
