//! ACL categories, on servers that let modules have them.

use testkit::{Raw, Server, is_valkey, server_version, texts};

use super::users::{assert_denied, user};

/// Redis 7.4 and later, Valkey 8.0 and later.
fn has_categories() -> bool {
    is_valkey() || server_version() >= (7, 4, 0)
}

/// Before Redis 8.0 and Valkey 8.1, ACL CAT leaves out the commands of all modules.
fn lists_modules() -> bool {
    server_version() >= if is_valkey() { (8, 1, 0) } else { (8, 0, 0) }
}

const READS: [&str; 8] = [
    "chatcache.fetch",
    "chatcache.get",
    "chatcache.help",
    "chatcache.inspect",
    "chatcache.key",
    "chatcache.personas",
    "chatcache.release",
    "chatcache.stats",
];
const WRITES: [&str; 8] = [
    "chatcache.append",
    "chatcache.commit",
    "chatcache.del",
    "chatcache.flush",
    "chatcache.forget",
    "chatcache.invalidate",
    "chatcache.set",
    "chatcache.softinvalidate",
];

#[test]
fn the_category_of_the_module_holds_all_its_commands() {
    if !has_categories() {
        return;
    }
    let server = Server::start();
    let mut con = server.raw();
    assert!(texts(con.say("ACL CAT")).contains(&"chatcache".to_owned()));
    if lists_modules() {
        let mut listed = texts(con.say("ACL CAT chatcache"));
        listed.sort();
        let mut all = [&READS[..], &WRITES].concat();
        all.sort();
        assert_eq!(listed, all);
    }
    let mut cy = user(&server, "cy", "~* -@all +@chatcache");
    cy.ok("CHATCACHE.SET msg ann helper hi hello");
    assert_eq!(cy.say("CHATCACHE.GET msg ann helper hi"), Raw::bulk("hello"));
    assert_denied(&server, &mut cy, "GET x");
    let mut cy = user(&server, "cy", "~* -@chatcache");
    assert_denied(&server, &mut cy, "CHATCACHE.GET msg ann helper hi");
    assert_eq!(cy.say("GET x"), Raw::NullBulk);
}

#[test]
fn each_command_is_in_the_categories_that_its_flags_say() {
    if !has_categories() {
        return;
    }
    let server = Server::start();
    let mut con = server.raw();
    for (category, commands) in [("read", &READS[..]), ("write", &WRITES[..])] {
        con.ok(&format!("ACL SETUSER cy reset on nopass ~* -@all +@{category}"));
        for command in READS.iter().chain(&WRITES) {
            let args = if *command == "chatcache.help" { "" } else { " msg ann helper hi hello x y" };
            let allowed = con.say(&format!("ACL DRYRUN cy {command}{args}")) == Raw::simple("OK");
            assert_eq!(allowed, commands.contains(command), "{category} {command}");
        }
    }
    con.ok("ACL SETUSER cy reset on nopass ~* +@all -@slow");
    for (command, fast) in [("chatcache.get", true), ("chatcache.set", true), ("chatcache.personas", false)] {
        let allowed =
            con.say(&format!("ACL DRYRUN cy {command} msg ann helper hi hello")) == Raw::simple("OK");
        assert_eq!(allowed, fast, "{command}");
    }
    con.ok("ACL SETUSER cy reset on nopass ~* +@all -@blocking");
    assert_ne!(con.say("ACL DRYRUN cy chatcache.fetch msg ann helper hi"), Raw::simple("OK"));
}
