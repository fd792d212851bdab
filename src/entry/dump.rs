//! RESTORE payloads: values in the form of DUMP, for AOF rewrites.
//!
//! The forked child that rewrites an AOF cannot call the server's DUMP, so this writes the same bytes: the RDB type of
//! module values, the type's number, the strings that the type's rdb_save writes, an end mark, the RDB version and a
//! CRC-64. The form is that of rdb.c and cluster.c in Redis 4 and later. The checksum is the crate crc's; no crate
//! that was found writes module values or their type numbers (those for RDB files read them).

static CRC64: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_REDIS);

/// Returns the number of a module type in RDB files and DUMP payloads: nine characters of six bits each and ten bits of
/// version. An impossible name or version gives 0, which no type has.
pub fn type_id(name: &str, encver: u16) -> u64 {
    const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    if name.len() != 9 || encver > 1023 {
        return 0;
    }
    let position = |byte| CHARACTERS.iter().position(|known| *known == byte);
    let id = name.bytes().try_fold(0u64, |id, byte| Some(id << 6 | position(byte)? as u64));
    id.map_or(0, |id| id << 10 | u64::from(encver))
}

/// Returns the payload with which RESTORE makes a value of a module type, whose rdb_save writes these strings.
pub fn restore_payload(type_id: u64, strings: &[&[u8]]) -> Vec<u8> {
    const RDB_TYPE_MODULE_2: u8 = 7;
    const MODULE_OPCODE_EOF: u64 = 0;
    const MODULE_OPCODE_STRING: u64 = 5;
    // The oldest version with this form: RESTORE refuses versions newer than the server's, and takes all older ones.
    const RDB_VERSION: u16 = 9;
    let mut payload = Vec::with_capacity(strings.iter().map(|string| string.len() + 10).sum::<usize>() + 24);
    payload.push(RDB_TYPE_MODULE_2);
    push_length(type_id, &mut payload);
    for string in strings {
        push_length(MODULE_OPCODE_STRING, &mut payload);
        push_length(string.len() as u64, &mut payload);
        payload.extend_from_slice(string);
    }
    push_length(MODULE_OPCODE_EOF, &mut payload);
    payload.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let checksum = CRC64.checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// Appends a length in RDB's form: the top two bits of the first byte tell the number of bytes that follow.
fn push_length(length: u64, out: &mut Vec<u8>) {
    if length < 1 << 6 {
        out.push(length as u8);
    } else if length < 1 << 14 {
        out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes());
    } else if let Ok(length) = u32::try_from(length) {
        out.push(0x80);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(0x81);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_payload_equals_the_dump_of_a_server() {
        assert_eq!(CRC64.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        // DUMP of Redis 7.0.15, after DATATYPE.SET k 42 hello of its tests/modules/datatype.c, which saves the
        // integer 42 and the string hello.
        let dump = b"\x07\x81\xb5\xeb-\xff\xff\xdd\xb4\x01\x02*\x05\x05hello\x00\n\x00b\xdb(dLY)i";
        let payload = restore_payload(type_id("test___dt", 1), &[b"hello"]);
        let value = payload.len() - 10;
        assert_eq!(payload[..10], dump[..10]);
        assert_eq!(payload[10..value], dump[12..dump.len() - 10]);
        // That server wrote RDB version 10; we write 9, which all of them read.
        assert_eq!(payload[value..value + 2], [9, 0]);
        let sum = |payload: &[u8]| CRC64.checksum(&payload[..payload.len() - 8]).to_le_bytes();
        assert_eq!(payload[value + 2..], sum(&payload));
        assert_eq!(dump[dump.len() - 8..], sum(dump));
    }

    #[test]
    fn only_a_valid_type_name_has_a_number() {
        assert_eq!(type_id("test___dt", 1), 0xb5eb_2dff_ffdd_b401);
        assert_eq!(type_id("AAAAAAAAB", 1023), 1 << 10 | 1023);
        for (name, encver) in [("chatcach", 1), ("chatcachee", 1), ("chatc che", 1), ("chatcache", 1024)] {
            assert_eq!(type_id(name, encver), 0);
        }
    }

    #[test]
    fn lengths_take_the_shortest_form_that_rdb_has() {
        let pushed = |length| {
            let mut out = Vec::new();
            push_length(length, &mut out);
            out
        };
        assert_eq!(pushed(63), [63]);
        assert_eq!(pushed(64), [0x40, 64]);
        assert_eq!(pushed(16_383), [0x7f, 0xff]);
        assert_eq!(pushed(16_384), [0x80, 0, 0, 0x40, 0]);
        assert_eq!(pushed(u64::from(u32::MAX)), [0x80, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(pushed(1 << 32), [0x81, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
}
