//! Key names: the place of a request's response in the keyspace.
//!
//! Users, personas and IDs are any bytes, so `%`, `:`, `{` and `}` in them are percent-encoded; the text between two
//! colons of a key leads back to exactly one name. (The crate percent-encoding also encodes every byte from 0x80 on,
//! which would give such names other keys.) A single server and a cluster lay keys out differently:
//!
//! | tier | `Single` | `Cluster` |
//! | --- | --- | --- |
//! | msg | `msg:<md5>` | `msg:{tag}:<md5>` |
//! | persona | `persona:<persona>:<md5>` | `persona:{tag}:<md5>` |
//! | session | `session:<user>:<id or md5>` | `session:{tag}:<user>:<id or md5>` |
//! | response | `response:<user>:<persona>:<md5>` | `response:{tag}:<user>:<md5>` |
//!
//! A cluster routes a command by the key it declares, which is the bare persona, so the persona's keys must hash to that
//! slot. The tag is the persona, unencoded: the cluster hashes the text between the braces, and a name without `}`
//! hashes whole. A name with `}` cannot stand there. Its tag is another string of the same slot, and the encoded name
//! follows the brace: `persona:{b}a%7Bb%7Dc:<md5>` for `a{b}c`. The two forms cannot be mixed up: after `}` the first
//! has a colon, and an encoded name never begins with one.
//!
//! So different requests have different keys, with two exceptions that only fingerprints tell apart: messages of one
//! MD5, and a session's ID that is spelled as the MD5 of a message.

use crate::tier::Tier;
use std::sync::OnceLock;

/// The slots of a cluster.
const SLOTS: usize = 16_384;

static CRC16: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);

/// The layout of keys: the server's `cluster-enabled`, so it never changes in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The layout of a server on its own.
    Single,
    /// The layout of a cluster: all keys of a persona in one slot.
    Cluster,
}

/// The last part of a key, which stands for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail<'a> {
    /// The message's MD5.
    Digest([u8; 16]),
    /// The application's own ID of the message, in the tier session only.
    Id(&'a [u8]),
}

/// Appends the key's name to `out`. It allocates only if `out` has no room, or the persona has a `}` and no hash tag.
pub fn write(layout: Layout, tier: Tier, user: &[u8], persona: &[u8], tail: Tail<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(tier.c_name().to_bytes());
    out.push(b':');
    if layout == Layout::Cluster {
        push_tag(persona, out);
        out.push(b':');
    }
    if tier.needs_user() {
        push_encoded(user, out);
        out.push(b':');
    }
    // In a cluster the tag tells the persona.
    if layout == Layout::Single && matches!(tier, Tier::Persona | Tier::Response) {
        push_encoded(persona, out);
        out.push(b':');
    }
    match tail {
        Tail::Digest(digest) => out.extend_from_slice(&hex_digits(&digest)),
        Tail::Id(id) => push_encoded(id, out),
    }
}

/// Returns the name of a key that never exists, in the persona's slot.
pub fn absent_in_slot_of(persona: &[u8]) -> Vec<u8> {
    let mut name = b"chatcache:".to_vec();
    push_tag(persona, &mut name);
    name
}

/// Tells if `write` may have made this name; false for most keys of others.
pub fn may_be_ours(name: &[u8]) -> bool {
    Tier::ALL
        .into_iter()
        .any(|tier| name.strip_prefix(tier.c_name().to_bytes()).is_some_and(|rest| rest.starts_with(b":")))
}

/// Returns the digest for which `write` makes this name, if there is one.
pub fn canonical_digest(
    layout: Layout,
    tier: Tier,
    user: &[u8],
    persona: &[u8],
    name: &[u8],
) -> Option<[u8; 16]> {
    let (_, digits) = name.split_last_chunk::<32>()?;
    let digest = const_hex::decode_to_array(digits).ok()?;
    let mut canonical = Vec::with_capacity(name.len());
    write(layout, tier, user, persona, Tail::Digest(digest), &mut canonical);
    (canonical == name).then_some(digest)
}

/// Returns the cluster slot of a key, by Redis's rule: the hash of the text between the first `{` and the first `}`
/// after it, or of the whole key if there is no such pair or nothing in it.
pub fn slot(key: &[u8]) -> u16 {
    CRC16.checksum(hash_tag(key).unwrap_or(key)) % SLOTS as u16
}

/// Returns the text between a key's first braces, if any; it never holds a `}`.
fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let (_, opened) = split_at_byte(key, b'{')?;
    let (tag, _) = split_at_byte(opened, b'}')?;
    (!tag.is_empty()).then_some(tag)
}

/// Returns the bytes before and after the first such byte.
fn split_at_byte(bytes: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|b| *b == byte)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Appends `{tag}` with the persona's slot, and after it the persona itself if it cannot be the tag.
fn push_tag(persona: &[u8], out: &mut Vec<u8>) {
    out.push(b'{');
    if !persona.contains(&b'}') {
        out.extend_from_slice(persona);
        out.push(b'}');
        return;
    }
    match hash_tag(persona) {
        Some(tag) => out.extend_from_slice(tag),
        None => out.extend_from_slice(number_in_slot(slot(persona)).to_string().as_bytes()),
    }
    out.push(b'}');
    push_encoded(persona, out);
}

/// Returns the smallest number whose decimal digits hash to this slot.
///
/// These numbers are part of key names, so the choice may never change. The first call finds all of them, in a few
/// milliseconds; only persona names like `}` and `{}x` need one.
fn number_in_slot(wanted: u16) -> u32 {
    static NUMBERS: OnceLock<Box<[u32]>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let mut found: Vec<Option<u32>> = vec![None; SLOTS];
        let mut missing = SLOTS;
        for number in 0..u32::MAX {
            if missing == 0 {
                break;
            }
            let digits = number.to_string();
            if let Some(first @ None) = found.get_mut(usize::from(slot(digits.as_bytes()))) {
                *first = Some(number);
                missing -= 1;
            }
        }
        found.into_iter().map(Option::unwrap_or_default).collect()
    });
    numbers.get(usize::from(wanted)).copied().unwrap_or_default()
}

/// Returns the lower-case digits. (Measured for 16 bytes: const-hex 4.4 ns to encode and 8.9 ns to decode, the crate hex
/// 11.7 and 31.2, faster-hex 4.6 and 16.8.)
fn hex_digits(digest: &[u8; 16]) -> [u8; 32] {
    let mut digits = const_hex::Buffer::<16>::new();
    digits.format(digest);
    *digits.as_byte_array()
}

/// Appends a name with its delimiters percent-encoded, run by run: most names have none.
fn push_encoded(name: &[u8], out: &mut Vec<u8>) {
    for run in name.split_inclusive(|byte| escape(*byte).is_some()) {
        match run.split_last().and_then(|(last, plain)| Some((plain, escape(*last)?))) {
            Some((plain, escaped)) => {
                out.extend_from_slice(plain);
                out.extend_from_slice(escaped);
            }
            None => out.extend_from_slice(run),
        }
    }
}

/// Returns the escape of a byte that has a meaning in key names.
fn escape(byte: u8) -> Option<&'static [u8; 3]> {
    match byte {
        b'%' => Some(b"%25"),
        b':' => Some(b"%3A"),
        b'{' => Some(b"%7B"),
        b'}' => Some(b"%7D"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Layout::{Cluster, Single};
    use proptest::prelude::*;

    fn name(layout: Layout, tier: Tier, user: &[u8], persona: &[u8], tail: Tail<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        write(layout, tier, user, persona, tail, &mut out);
        out
    }

    fn text(layout: Layout, tier: Tier, user: &str, persona: &str, tail: Tail<'_>) -> String {
        String::from_utf8(name(layout, tier, user.as_bytes(), persona.as_bytes(), tail)).unwrap()
    }

    const HELLO: Tail<'_> = Tail::Digest([
        0x5d, 0x41, 0x40, 0x2a, 0xbc, 0x4b, 0x2a, 0x76, 0xb9, 0x71, 0x9d, 0x91, 0x10, 0x17, 0xc5, 0x92,
    ]);
    const HEX: &str = "5d41402abc4b2a76b9719d911017c592";

    #[test]
    fn a_single_server_has_the_keys_that_applications_had_before() {
        assert_eq!(text(Single, Tier::Msg, "ann", "helper", HELLO), format!("msg:{HEX}"));
        assert_eq!(text(Single, Tier::Persona, "ann", "helper", HELLO), format!("persona:helper:{HEX}"));
        assert_eq!(text(Single, Tier::Session, "ann", "helper", HELLO), format!("session:ann:{HEX}"));
        assert_eq!(text(Single, Tier::Session, "ann", "helper", Tail::Id(b"m-1")), "session:ann:m-1");
        assert_eq!(
            text(Single, Tier::Response, "ann", "helper", HELLO),
            format!("response:ann:helper:{HEX}")
        );
    }

    #[test]
    fn a_cluster_has_the_persona_as_hash_tag() {
        assert_eq!(text(Cluster, Tier::Msg, "ann", "helper", HELLO), format!("msg:{{helper}}:{HEX}"));
        assert_eq!(text(Cluster, Tier::Persona, "ann", "helper", HELLO), format!("persona:{{helper}}:{HEX}"));
        let id = Tail::Id(b"m-1");
        assert_eq!(text(Cluster, Tier::Session, "ann", "helper", id), "session:{helper}:ann:m-1");
        let response = text(Cluster, Tier::Response, "ann", "helper", HELLO);
        assert_eq!(response, format!("response:{{helper}}:ann:{HEX}"));
    }

    #[test]
    fn delimiters_in_names_are_percent_encoded() {
        let id = Tail::Id(b"%3A");
        assert_eq!(text(Single, Tier::Session, "a:{b}%", "helper", id), "session:a%3A%7Bb%7D%25:%253A");
        let persona = text(Single, Tier::Persona, "", "a:b", HELLO);
        assert_eq!(persona, format!("persona:a%3Ab:{HEX}"));
    }

    #[test]
    fn a_persona_with_a_closing_brace_keeps_its_slot_and_its_name() {
        let tagged = text(Cluster, Tier::Persona, "", "a{b}c", HELLO);
        assert_eq!(tagged, format!("persona:{{b}}a%7Bb%7Dc:{HEX}"));
        let open = text(Cluster, Tier::Persona, "", "a{b:%", HELLO);
        assert_eq!(open, format!("persona:{{a{{b:%}}:{HEX}"));
        // The number is part of the key for good: another one would lose every response of the persona.
        let untagged = text(Cluster, Tier::Msg, "", "{}x", HELLO);
        assert_eq!(untagged, format!("msg:{{19354}}%7B%7Dx:{HEX}"));
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b""), 0);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"foo{}{bar}"), CRC16.checksum(b"foo{}{bar}") % 16_384);
        assert_eq!(slot(b"}foo{"), CRC16.checksum(b"}foo{") % 16_384);
    }

    #[test]
    fn every_slot_has_a_short_number() {
        for wanted in 0..SLOTS as u16 {
            let digits = number_in_slot(wanted).to_string();
            assert_eq!(slot(digits.as_bytes()), wanted);
            assert!(digits.len() <= 6, "slot {wanted}: {digits}");
        }
    }

    #[test]
    fn a_name_written_into_a_buffer_with_room_allocates_nothing() {
        let mut out = Vec::with_capacity(256);
        let before = out.as_ptr();
        for layout in [Single, Cluster] {
            write(layout, Tier::Response, b"a:b", b"{}", HELLO, &mut out);
        }
        assert_eq!((out.as_ptr(), out.capacity()), (before, 256));
    }

    /// Any bytes: delimiters come up often, and names are short enough to repeat.
    fn any_byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            4 => prop::sample::select(b"{}:%2357ABD\0\xff".to_vec()),
            1 => any::<u8>(),
        ]
    }

    fn any_name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any_byte(), 0..6)
    }

    fn a_tail() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(any_name())
    }

    /// Personas are never empty.
    fn any_persona() -> impl Strategy<Value = Vec<u8>> {
        (any_byte(), any_name()).prop_map(|(first, rest)| [vec![first], rest].concat())
    }

    /// Two names that are often alike.
    fn two<S: Strategy<Value = Vec<u8>>>(name: fn() -> S) -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        prop_oneof![(name(), name()), name().prop_map(|name| (name.clone(), name))]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn two_requests_never_share_a_key(
            tiers in (0u8..4, 0u8..4),
            (user, other_user) in two(any_name),
            (persona, other_persona) in two(any_persona),
            tails in (a_tail(), a_tail()),
        ) {
            let (Some(tier), Some(other_tier)) = (Tier::from_number(tiers.0), Tier::from_number(tiers.1))
            else { unreachable!() };
            for layout in [Single, Cluster] {
                let (mine, my_key) = identity(layout, tier, &user, &persona, tails.0.as_deref());
                let (theirs, their_key) =
                    identity(layout, other_tier, &other_user, &other_persona, tails.1.as_deref());
                prop_assert_eq!(mine == theirs, my_key == their_key, "{:?} {:?}", my_key, their_key);
            }
        }

        #[test]
        fn personas_made_of_delimiters_never_share_a_cluster_key(
            one in "[{}:%a]{1,7}", other in "[{}:%a]{1,7}", tier in 0u8..4,
        ) {
            let Some(tier) = Tier::from_number(tier) else { unreachable!() };
            let (_, my_key) = identity(Cluster, tier, b"", one.as_bytes(), None);
            let (_, their_key) = identity(Cluster, tier, b"", other.as_bytes(), None);
            prop_assert_eq!(one == other, my_key == their_key);
            prop_assert_eq!(slot(&my_key), slot(one.as_bytes()));
        }

        #[test]
        fn a_key_is_in_the_slot_of_its_persona(
            tier in 0u8..4, user in any_name(), persona in any_persona(), tail in a_tail(),
        ) {
            let Some(tier) = Tier::from_number(tier) else { unreachable!() };
            let (_, key) = identity(Cluster, tier, &user, &persona, tail.as_deref());
            prop_assert_eq!(slot(&key), slot(&persona));
            prop_assert_eq!(slot(&absent_in_slot_of(&persona)), slot(&persona));
        }
    }

    type Identity<'a> = (Tier, Option<&'a [u8]>, Option<&'a [u8]>, Tail<'a>);

    /// The parts of a key, and the key.
    fn identity<'a>(
        layout: Layout,
        tier: Tier,
        user: &'a [u8],
        persona: &'a [u8],
        id: Option<&'a [u8]>,
    ) -> (Identity<'a>, Vec<u8>) {
        let tail = match id {
            Some(id) if tier == Tier::Session => Tail::Id(id),
            _ => HELLO,
        };
        let has_persona = layout == Cluster || matches!(tier, Tier::Persona | Tier::Response);
        let parts = (tier, tier.needs_user().then_some(user), has_persona.then_some(persona), tail);
        (parts, name(layout, tier, user, persona, tail))
    }

    #[test]
    fn a_name_has_a_digest_only_for_its_own_tier_user_and_persona() {
        let mut name = Vec::new();
        write(Layout::Single, Tier::Response, b"ann", b"a:b", Tail::Digest([0xab; 16]), &mut name);
        let digest = |persona, name| canonical_digest(Layout::Single, Tier::Response, b"ann", persona, name);
        assert_eq!(digest(b"a:b", &name), Some([0xab; 16]));
        assert_eq!(digest(b"a", &name), None);
        let shouted = name.to_ascii_uppercase();
        assert_eq!(digest(b"a:b", &shouted), None);
        assert_eq!(digest(b"a:b", b"elsewhere"), None);
    }
}
