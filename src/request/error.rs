//! Refusals: every reason for which a command does nothing, and the one place that words it.

use crate::request::options::Grammar;
use crate::request::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES};
use crate::tier::Tier;
use std::borrow::Cow;

/// What a command takes as its tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    Tiers,
    TiersAndAny,
}

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Persona,
    User,
    Id,
}

impl Name {
    const fn noun(self) -> &'static str {
        match self {
            Name::Persona => "persona",
            Name::User => "user",
            Name::Id => "ID",
        }
    }
}

/// Why a command does nothing. A refusal holds none of the client's bytes: in an error reply they could
/// break the protocol, or the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    UnknownTier(Accepts),
    EmptyName(Name),
    /// The tier's keys hold the user, and it is empty.
    UserNeeded(Tier),
    NameTooLong(Name),
    MessageTooLong,
    /// A word that is none of the command's options.
    UnknownOption(&'static Grammar),
    OptionTwice(&'static str),
    OptionsExclude(&'static str, &'static str),
    OptionNeedsValue(&'static str),
    /// The command is nothing without this option.
    OptionMissing(&'static str),
    /// The option's value is a number, but none that it takes.
    OutOfRange {
        option: &'static str,
        min: i64,
        max: i64,
    },
    /// A replica gives no leases: it takes no answers.
    LeaseOnReplica,
    /// The option's value is not a whole number of 64 bits.
    NotAnInteger(&'static str),
    /// A TTL that is not positive, or ends after the end of time, in this command.
    InvalidExpire(&'static str),
    CountNotPositive,
    InvalidCursor,
    /// The key holds a value that is not ours.
    WrongType,
    ResponseTooLarge {
        limit: u64,
    },
    /// What stands in the place is an answer of a persona that the caller may not write.
    ForeignEntry,
    /// The command is about all personas.
    AllKeysNeeded,
    /// The persona's slot is moving to another node, and each of the two has some of its answers.
    SlotMoving,
    Internal,
}

impl CommandError {
    /// The error reply, code word and all. Where Redis has a text for it, it begins with that text.
    pub fn message(&self) -> Cow<'static, str> {
        let text: &'static str = match *self {
            CommandError::UnknownTier(Accepts::Tiers) => {
                "ERR unknown tier: use msg, persona, session or response"
            }
            CommandError::UnknownTier(Accepts::TiersAndAny) => {
                "ERR unknown tier: use msg, persona, session, response or any"
            }
            CommandError::EmptyName(Name::Id) => "ERR the ID is empty: leave ID out where there is none",
            CommandError::EmptyName(name) => return format!("ERR the {} is empty", name.noun()).into(),
            CommandError::UserNeeded(tier) => {
                return format!("ERR the user is empty: the tier {} needs one", tier.name()).into();
            }
            CommandError::NameTooLong(name) => {
                return format!("ERR the {} is longer than {MAX_NAME_BYTES} bytes", name.noun()).into();
            }
            CommandError::MessageTooLong => {
                return format!("ERR the message is longer than {MAX_MESSAGE_BYTES} bytes").into();
            }
            CommandError::UnknownOption(grammar) => {
                return format!("ERR syntax error: {}", grammar.summary()).into();
            }
            CommandError::OptionTwice(option) => {
                return format!("ERR syntax error: the option {option} is given twice").into();
            }
            CommandError::OptionsExclude(one, other) => {
                return format!("ERR syntax error: {one} and {other} exclude each other").into();
            }
            CommandError::OptionNeedsValue(option) => {
                return format!("ERR syntax error: the option {option} needs a value").into();
            }
            CommandError::OptionMissing(option) => {
                return format!("ERR syntax error: the option {option} is missing").into();
            }
            CommandError::OutOfRange { option, min, max } => {
                return format!("ERR value is out of range: {option} takes {min} to {max}").into();
            }
            CommandError::LeaseOnReplica => {
                "READONLY You can't compute an answer for a read only replica: ask the master for a lease"
            }
            CommandError::NotAnInteger(option) => {
                return format!("ERR value is not an integer or out of range: {option} takes a whole number")
                    .into();
            }
            CommandError::InvalidExpire(command) => {
                let command = command.to_ascii_lowercase();
                return format!(
                    "ERR invalid expire time in '{command}' command: \
                     it must be positive, and its end in milliseconds must fit 64 bits"
                )
                .into();
            }
            CommandError::CountNotPositive => "ERR syntax error: COUNT must be positive",
            CommandError::InvalidCursor => "ERR invalid cursor",
            CommandError::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            CommandError::ResponseTooLarge { limit } => {
                return format!("ERR the response is larger than chatcache.max-response-bytes ({limit})")
                    .into();
            }
            CommandError::ForeignEntry => {
                "NOPERM No permissions to access a key: the answer in its place is another persona's, \
                 which this user may not write"
            }
            CommandError::AllKeysNeeded => {
                "NOPERM No permissions to access a key: this command is about all personas and needs rights \
                 to all keys"
            }
            CommandError::SlotMoving => {
                "TRYAGAIN Multiple keys request during rehashing of slot: the responses of the persona are on two nodes"
            }
            CommandError::Internal => "ERR internal error: see the server log",
        };
        text.into()
    }
}

impl From<CommandError> for Cow<'static, str> {
    fn from(refusal: CommandError) -> Self {
        refusal.message()
    }
}
