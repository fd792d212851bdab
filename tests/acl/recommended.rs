//! The rules that docs/operate/acl.md recommends: they refuse CLIENT TRACKING, whose broadcasts tell all key names.

use std::path::Path;

use testkit::{Raw, Server, words};

/// The rules of the page: names of users and what follows them.
fn rules() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate/acl.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let of_line = |line: &str| {
        let line = line.trim_start_matches("> ");
        let rule = line.strip_prefix("ACL SETUSER ").or_else(|| line.strip_prefix("user "))?;
        let (name, rules) = rule.split_once(' ')?;
        let rules: Vec<&str> = rules.split_whitespace().collect();
        Some((name.to_owned(), rules.join(" ")))
    };
    page.lines().filter_map(of_line).collect()
}

#[test]
fn no_recommended_rule_lets_a_user_hear_all_key_names() {
    let server = Server::start();
    let mut con = server.raw();
    let rules = rules();
    assert!(rules.len() >= 7, "{rules:?}");
    for (name, rule) in rules {
        // Servers before Redis 7.4 and Valkey 8.0 have no category of a module.
        let line = format!("ACL SETUSER {name} {}", rule.replace("+@chatcache", "+chatcache.get"));
        con.ok(&line);
        for command in ["CLIENT TRACKING ON BCAST", "CLIENT TRACKING ON", "MONITOR", "KEYS *"] {
            let mut dry_run = vec!["ACL", "DRYRUN", &name];
            dry_run.extend(words(command));
            let reply = con.call(&dry_run);
            assert_ne!(reply, Raw::simple("OK"), "{line} allows {command}");
        }
    }
    let mut reader = server.raw();
    reader.ok("AUTH reader secret");
    assert!(
        matches!(reader.say("CLIENT TRACKING ON BCAST"), Raw::Error(error) if error.starts_with("NOPERM"))
    );
    assert_eq!(reader.say("PING"), Raw::simple("PONG"));
}
