//! The ways in which a reader can be wrong.

macro_rules! wrong {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// One thing that a wrong reader does otherwise than the format says.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Wrong { $($(#[$doc])* $name,)+ }

        impl Wrong {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];
        }
    };
}

wrong! {
    // The header.
    /// Knows no SSH keys, neither as recipients nor as identities.
    NoSsh,
    /// Has no limit on stanzas.
    AnyStanzas,
    /// Has no limit on lines.
    AnyLines,
    /// Has no limit on arguments.
    AnyArguments,
    /// Counts the words of a stanza with its tag.
    CountsTags,
    /// Has no limit on the bytes of a header.
    AnyHeaderSize,
    /// Has no limit on the bytes of a file.
    AnyFileSize,
    /// Lists a file without a look at its size.
    ListsAnyFileSize,
    /// Takes 64 as the limit of stanzas without the binding.
    CountsRecipientsAlone,
    /// Takes the first of several bindings.
    FirstBinding,
    /// Ignores a binding of the other version beside one.
    OneBindingOfEachVersion,
    /// Takes a binding with arguments.
    BindingWithArguments,
    /// Does not count a binding that has arguments.
    SkipsBindingWithArguments,
    /// Takes a body that ends with a full line.
    NoLastLine,
    /// Takes a body without regard to the lengths of its lines.
    AnyLineLength,
    /// Takes a body whose last character has unused bits.
    UnusedBitsInBody,
    /// Takes a MAC whose last character has unused bits.
    UnusedBitsInMac,
    /// Does not look at the form of stanzas of known kinds.
    AnyKnownStanza,
    /// Does not look at the form of SSH stanzas.
    AnySshStanza,
    /// Takes a share of small order.
    SmallOrderShares,
    /// Passes over an SSH stanza that its key does not open.
    PassesOverBrokenStanza,
    /// Refuses an SSH stanza that its key does not open, even if one before it opened.
    RefusesBrokenSecondStanza,
    /// Takes an SSH stanza that its key does not open as one for another key.
    BrokenStanzaIsOfAnother,
    /// Takes a scrypt stanza.
    Scrypt,
    /// Refuses stanzas that it does not know.
    KnownStanzasOnly,
    /// Requires the stanza that rage adds.
    RequiresGrease,
    /// Requires the binding after the recipients.
    BindingAfterRecipients,
    /// Refuses a second X25519 stanza for the same recipient.
    RefusesSecondStanza,
    /// Tries another stanza if the MAC fails.
    TriesEachStanza,
    /// Takes any version of age.
    AnyAgeVersion,
    /// Lists a file that ends with its header.
    NoNonce,
    // The binding.
    /// Replaces what is not UTF-8.
    NotUtf8,
    /// Takes escapes of half a surrogate pair in members that it does not know.
    HalfSurrogates,
    /// Has no limit on nesting.
    AnyNesting,
    /// Refuses nesting from 32 levels on.
    LessNesting,
    /// Reads each number, and refuses one that is too large for a double.
    ReadsNumbers,
    /// Refuses members that it does not know.
    KnownMembersOnly,
    /// Refuses a repeated member that it does not know.
    UnknownMembersOnce,
    /// Takes the first of repeated members.
    FirstMember,
    /// Takes the last of repeated members.
    LastMember,
    /// Finds members without regard to case.
    AnyCaseOfMembers,
    /// Does not decode escapes in the names of members.
    RawMemberNames,
    /// Does not decode escapes in values.
    RawValues,
    /// Takes text after the object.
    TextAfterObject,
    /// Takes a byte order mark.
    ByteOrderMark,
    /// Requires `project` and `domain`.
    RequiresScope,
    /// Takes an empty project as none.
    EmptyProject,
    /// Takes every type.
    AnyType,
    /// Shows each secret as `regular`.
    OneType,
    /// Does not compare the vault's id.
    AnyVault,
    /// Does not compare the name.
    AnyName,
    /// Does not compare the project.
    AnyProject,
    /// Does not compare the domain.
    AnyDomain,
    /// Takes `null` for `recipients` as an absent member.
    NullRecipients,
    /// Does not look at the form of `recipients`.
    AnyRecipients,
    /// Requires `recipients`.
    RequiresRecipients,
    // Times.
    /// Does not compare the times.
    AnyOrderOfTimes,
    /// Compares the times as text.
    ComparesTimesAsText,
    /// Refuses a secret that was updated when it was created.
    StrictOrderOfTimes,
    /// Takes the year 0000.
    YearZero,
    /// Takes the year 9999.
    Year9999,
    /// Refuses years before 1970.
    UnixYears,
    /// Takes a second 60.
    LeapSeconds,
    /// Takes the hour 24.
    Hour24,
    /// Takes more than nine digits of a fraction.
    AnyFraction,
    /// Takes a point without digits.
    EmptyFraction,
    /// Takes a comma for a point.
    Comma,
    /// Takes lower-case letters and a space in times.
    AnyLetters,
    /// Takes an offset for `Z`.
    Offsets,
    /// Takes any day of a month up to 31.
    AnyDay,
    /// Knows no leap years but takes each February 29.
    AnyLeapDay,
    /// Cuts the fraction after milliseconds.
    Milliseconds,
    // Proof.
    /// Does not verify the signature.
    AnySignature,
    /// Takes a signed binding without its signature.
    NoSignature,
    /// Reads unsigned files.
    ReadsUnsigned,
    /// Verifies what a stanza of the first version says.
    AnyTag,
    /// Signs the first version's tag.
    OtherTag,
    /// Takes a signature by any author.
    AnyAuthor,
    /// Verifies with the key of the vault's first author, and not of the author that the binding names.
    OwnersSignature,
    /// Does not compute the commitment.
    AnyCommitment,
    /// Swaps project and domain in the message.
    SwapsScope,
    /// Joins the message's parts without their lengths.
    NoLengths,
    /// Leaves the times out of the message.
    NoTimesInMessage,
    /// Puts the times into the message in its own form.
    NormalTimes,
    /// Leaves `recipients` out of the message.
    NoRecipientsInMessage,
    /// Puts an empty part into the message if there is no `recipients`.
    EmptyRecipientsInMessage,
    /// Takes a signature whose second half is not reduced.
    StretchedSignature,
    /// Takes a signature whose first half has small order.
    SmallOrderSignature,
    /// Takes base64 with unused bits.
    UnusedBits,
    /// Takes base64 without padding.
    NoPadding,
    /// Takes base64 in several lines.
    Lines,
    /// Takes an author's key in upper case.
    UpperCaseAuthor,
    /// Takes a key whose padding bits are not zero.
    PaddingBits,
    /// Takes an author's key with any prefix.
    AnyPrefix,
    // The author's key file.
    /// Takes the first of several keys.
    FirstKeyOfFile,
    /// Takes a private key in lower case.
    LowerCaseKeyFile,
    /// Takes text after a private key.
    TextAfterKey,
    /// Refuses comments.
    NoCommentsInKeyFile,
    /// Removes white space that is not ASCII.
    AnyWhiteSpace,
    /// Removes a byte order mark.
    KeyFileByteOrderMark,
    // `vault.toml`.
    /// Takes every format.
    AnyFormat,
    /// Takes format 2 alone.
    Format2Only,
    /// Takes members that it does not know.
    UnknownManifestMembers,
    /// Takes a vault of format 2 without `authors`.
    NoAuthorsMember,
    /// Takes authors in a vault of format 1.
    AuthorsInFormat1,
    /// Takes TOML 1.1.
    Toml11,
    /// Takes a byte order mark before the manifest.
    ManifestByteOrderMark,
    /// Refuses inline tables.
    NoInlineTables,
    /// Takes every id.
    AnyId,
    /// Takes a vault without recipients.
    NoRecipients,
    /// Has no limit on the bytes of `vault.toml`.
    AnyManifestSize,
    /// Has no limit on the marks in `vault.toml`.
    AnyMarks,
    /// Has no limit on recipients.
    AnyNumberOfRecipients,
    /// Has no limit on authors.
    AnyNumberOfAuthors,
    /// Takes 255 as the limit of authors.
    FewerAuthors,
    /// Takes names of any length.
    AnyNameLength,
    /// Counts the bytes of a name.
    NameInBytes,
    /// Refuses an empty name.
    NameNotEmpty,
    /// Takes a repeated key.
    RepeatedKeys,
    /// Takes keys with a comment.
    Comments,
    /// Takes points in a form that is not canonical.
    AnyPoint,
    /// Takes an X25519 key with its highest bit set.
    HighBit,
    /// Takes keys of small order.
    SmallOrder,
    /// Takes RSA keys of any size.
    AnyRsaSize,
    /// Takes every RSA exponent.
    AnyExponent,
    /// Takes RSA keys with leading zeros or more parts.
    AnyRsaParts,
    // Updates and staleness.
    /// Updates a file whose signature it did not verify.
    UpdatesForgedFiles,
    /// Updates a file that is not signed.
    UpdatesUnsignedFiles,
    /// Finds each file up to date.
    NeverStale,
    /// Takes a file without a digest as up to date.
    NoDigestIsCurrent,
    /// Does not compare the stanzas with the recipients.
    DigestAlone,
    /// Does not compare the tags of SSH keys.
    AnySshTag,
    /// Does not count X25519 stanzas.
    AnyNumberOfX25519,
    /// Takes stanzas of unknown kinds as current.
    UnknownStanzaIsCurrent,
    /// Takes grease as another recipient.
    GreaseIsStale,
    /// Does not notice stanzas for others.
    MoreStanzasAreCurrent,
    /// Does not notice stanzas that are missing.
    FewerStanzasAreCurrent,
    /// Refuses to read a stale file.
    RefusesStale,
    /// Does not sort the keys for the digest.
    UnsortedDigest,
    /// Sorts the keys for the digest from the last to the first.
    ReversedDigest,
    /// Digests the names with the keys.
    NamesInDigest,
}
