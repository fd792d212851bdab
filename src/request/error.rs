//! Errors: every reason for which a command does nothing, and the one place that words it.

use crate::request::grammar::Grammar;
use crate::request::limits::{MAX_MESSAGE_BYTES, MAX_NAME_BYTES};
use crate::request::scope::Accepts;
use crate::tier::Tier;
use std::borrow::Cow;

/// The kind of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A persona's.
    Persona,
    /// A user's.
    User,
    /// The application's own ID of a message.
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

/// The reason for which a command does nothing. It holds none of the client's bytes: in an error reply they could break
/// the protocol, or the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The command does not accept this tier.
    UnknownTier(Accepts),
    /// A name is empty.
    EmptyName(Name),
    /// The user is empty, and the tier's keys hold it.
    UserNeeded(Tier),
    /// A name is longer than `MAX_NAME_BYTES`.
    NameTooLong(Name),
    /// The message is longer than `MAX_MESSAGE_BYTES`.
    MessageTooLong,
    /// An ID came with a tier other than session.
    IdOutsideSession(Tier),
    /// A word is none of the command's options.
    UnknownOption(&'static Grammar),
    /// An option stands twice.
    OptionTwice(&'static str),
    /// Two options exclude each other.
    OptionsExclude(&'static str, &'static str),
    /// An option was given without another that it belongs to.
    OptionNeeds(&'static str, &'static str),
    /// The lease has no draft that COMMIT could store.
    NoDraft,
    /// The option's value is missing.
    OptionNeedsValue(&'static str),
    /// The command needs this option.
    OptionMissing(&'static str),
    /// The option's value is a number outside its range.
    OutOfRange {
        /// The option.
        option: &'static str,
        /// The lowest value.
        min: i64,
        /// The highest value.
        max: i64,
    },
    /// A lease was asked of a replica, which stores no responses.
    LeaseOnReplica,
    /// The option's value is not a whole number of 64 bits.
    NotAnInteger(&'static str),
    /// In this command, a TTL is not positive, or its end does not fit 64 bits.
    InvalidExpire(&'static str),
    /// COUNT is not positive.
    CountNotPositive,
    /// CURSOR is not a number.
    InvalidCursor,
    /// The key holds a value of another type.
    WrongType,
    /// The response is too large.
    ResponseTooLarge {
        /// The setting `max-response-bytes`.
        limit: u64,
    },
    /// The key holds an entry of a persona that the caller may not write.
    ForeignEntry,
    /// The command is about all personas, and the caller lacks rights to some keys.
    AllKeysNeeded,
    /// The persona's slot is moving, and each of two nodes has some of its responses.
    SlotMoving,
    /// FORGET or FLUSH while slots move as a whole: entries on their way would stay.
    SlotsMoving,
    /// The module met a state that it should not; the log tells which.
    Internal,
}

impl CommandError {
    /// Returns the error reply, with its code word. An error that Redis has too begins with Redis's text.
    pub fn message(&self) -> Cow<'static, str> {
        let text: &'static str = match *self {
            CommandError::UnknownTier(Accepts::Tiers) => {
                "ERR unknown tier: use msg, persona, session or response"
            }
            CommandError::UnknownTier(Accepts::TiersAndAny) => {
                "ERR unknown tier: use msg, persona, session, response or any"
            }
            CommandError::EmptyName(Name::Id) => "ERR the ID is empty: leave ID out if there is none",
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
            CommandError::IdOutsideSession(tier) => {
                let (tier, session) = (tier.name(), Tier::Session.name());
                return format!("ERR the tier {tier} takes no ID: ID is for the tier {session}").into();
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
            CommandError::OptionNeeds(option, other) => {
                return format!("ERR syntax error: {option} needs {other}").into();
            }
            CommandError::NoDraft => "ERR the lease has no draft: APPEND a piece before COMMIT",
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
                "READONLY You can't compute a response for a read only replica: ask the master for a lease"
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
                "NOPERM No permissions to access a key: it holds a response of another persona, \
                 which this user may not write"
            }
            CommandError::AllKeysNeeded => {
                "NOPERM No permissions to access a key: this command is about all personas and needs rights \
                 to all keys"
            }
            CommandError::SlotMoving => {
                "TRYAGAIN Multiple keys request during rehashing of slot: the responses of the persona are on two nodes"
            }
            CommandError::SlotsMoving => {
                "TRYAGAIN Slots are moving: send the command to all masters once CLUSTER GETSLOTMIGRATIONS shows none \
                 under way"
            }
            CommandError::Internal => "ERR internal error: see the server log",
        };
        text.into()
    }
}

impl From<CommandError> for Cow<'static, str> {
    fn from(error: CommandError) -> Self {
        error.message()
    }
}
