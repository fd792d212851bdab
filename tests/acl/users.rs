//! Users with rights to some personas, and the operator with rights to all.

use testkit::{Raw, RawClient, Server};

/// The requests whose keys do not hold the persona.
pub const SHARED: [&str; 3] = ["msg ann coder hi", "session ann coder hi", "session ann coder hi ID 7"];

/// The same request of another persona.
pub fn of(persona: &str, request: &str) -> String {
    request.replace("coder", persona)
}

/// The line that stores a response to a request, which may have an ID.
pub fn store(request: &str, response: &str, options: &str) -> String {
    let (request, id) = match request.split_once(" ID ") {
        Some((request, id)) => (request, format!("ID {id} ")),
        None => (request, String::new()),
    };
    format!("CHATCACHE.SET {request} {response} {id}{options}").trim_end().to_owned()
}

/// Returns the connection of a user with these rights, and with all commands unless the rights say otherwise.
#[track_caller]
pub fn user(server: &Server, name: &str, rights: &str) -> RawClient {
    set_rights(server, name, &format!("+@all {rights}"));
    let mut con = server.raw();
    con.ok(&format!("AUTH {name} any"));
    con
}

/// Sets a user's rights, and takes the old ones away.
#[track_caller]
pub fn set_rights(server: &Server, name: &str, rights: &str) {
    server.raw().ok(&format!("ACL SETUSER {name} reset on nopass {rights}"));
}

/// Asserts that the line is refused for want of rights, and that nothing has changed.
#[track_caller]
pub fn assert_denied(server: &Server, con: &mut RawClient, line: &str) {
    let mut admin = server.raw();
    let before = (admin.text("DEBUG DIGEST"), admin.stats(""));
    match con.say(line) {
        Raw::Error(text) => assert!(text.starts_with("NOPERM "), "{line} gave {text}"),
        other => panic!("{line} gave {other:?}"),
    }
    assert_eq!((admin.text("DEBUG DIGEST"), admin.stats("")), before, "{line}");
}

/// Asserts that a script's command is refused for want of rights.
#[track_caller]
pub fn assert_denied_in_script(con: &mut RawClient, body: &str, key: &str) {
    match con.call(&["EVAL", body, "1", key]) {
        Raw::Error(text) => assert!(text.contains("NOPERM ") || text.contains("permissions"), "{text}"),
        other => panic!("{body} gave {other:?}"),
    }
}
