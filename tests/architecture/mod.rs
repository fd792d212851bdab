//! The layers of `src/`: every arrow of an import points down, and no imports form a circle.
//!
//! The order of the layers stands in docs/dev/architecture.md, in the block that begins with `lib`, and is read from there.
//! An import of a name that a room's `mod.rs` passes on counts as an import of the file that defines it. Tests inside `src/`
//! are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Item, UseTree};

const PAGE: &str = "docs/dev/architecture.md";

#[test]
fn every_import_points_to_a_lower_layer() {
    let layers = layers();
    let code = Code::read();
    let layer_of = |file: &str| {
        let room = room(file);
        layers.get(room).copied().unwrap_or_else(|| panic!("{PAGE} has no layer for {room} ({file})"))
    };
    let mut upward = Vec::new();
    for (from, to) in code.arrows() {
        if room(&from) != room(&to) && layer_of(&from) >= layer_of(&to) {
            upward.push(format!("{from} imports {to}, which is not in a lower layer"));
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

#[test]
fn no_imports_form_a_circle() {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in Code::read().arrows() {
        below.entry(from).or_default().insert(to);
    }
    // Files that import nothing that is left are at the bottom: take them away until only circles remain.
    loop {
        let bottom: Vec<String> = below
            .iter()
            .filter(|(_, targets)| targets.iter().all(|target| !below.contains_key(target)))
            .map(|(file, _)| file.clone())
            .collect();
        if bottom.is_empty() {
            break;
        }
        below.retain(|file, _| !bottom.contains(file));
    }
    let circles: Vec<String> = below
        .iter()
        .flat_map(|(from, targets)| {
            targets.iter().filter(|to| below.contains_key(*to)).map(move |to| format!("{from} imports {to}"))
        })
        .collect();
    assert!(circles.is_empty(), "these imports form a circle, or lead into one:\n{}", circles.join("\n"));
}

#[test]
fn an_upward_import_and_a_circle_would_be_seen() {
    let mut code = Code::read();
    let lower = code.files.get_mut("tier.rs").unwrap();
    *lower = syn::parse_str("use crate::commands::Get;").unwrap();
    assert!(code.arrows().contains(&("tier.rs".into(), "commands/get.rs".into())));
}

/// The layer of each room, 0 for the highest.
fn layers() -> BTreeMap<String, usize> {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let block =
        page.split("```").find(|block| block.lines().nth(1).is_some_and(|line| line.starts_with("lib")));
    let block = block.unwrap_or_else(|| panic!("{PAGE} has no block of layers"));
    let rooms = |line: &str| {
        let names = line.split_whitespace().next().unwrap_or("").to_owned();
        names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = block.lines().skip(1).enumerate();
    lines.flat_map(|(layer, line)| rooms(line).into_iter().map(move |room| (room, layer))).collect()
}

fn room(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The files of `src/`, by their path in it.
struct Code {
    files: BTreeMap<String, syn::File>,
}

impl Code {
    fn read() -> Code {
        let mut files = BTreeMap::new();
        let source = root().join("src");
        let mut folders = vec![source.clone()];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
                if name.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "fuzzing.rs") {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let text = std::fs::read_to_string(&path).unwrap();
                    files.insert(name, syn::parse_file(&text).unwrap());
                }
            }
        }
        assert!(files.len() > 50, "src/ has {} files", files.len());
        Code { files }
    }

    /// All imports between two files.
    fn arrows(&self) -> BTreeSet<(String, String)> {
        let mut arrows = BTreeSet::new();
        for (from, file) in &self.files {
            let mut seen = Paths { found: Vec::new(), is_face: from.ends_with("mod.rs") };
            seen.visit_file(file);
            for path in seen.found {
                if let Some(to) = self.resolve(&module_of(from), &path)
                    && to != *from
                {
                    arrows.insert((from.clone(), to));
                }
            }
        }
        arrows
    }

    /// The file that defines the item of a path, if it is a file of ours.
    fn resolve(&self, here: &[String], path: &[String]) -> Option<String> {
        let mut module = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "super" => here.split_last()?.1.to_vec(),
            "self" => here.to_vec(),
            _ => return None,
        };
        let mut rest = &path[1..];
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                module.pop();
            } else if self.file_of(&[module.as_slice(), std::slice::from_ref(name)].concat()).is_some() {
                module.push(name.clone());
            } else {
                // Not a module: the file itself defines it, or passes it on.
                let file = self.file_of(&module)?;
                return match passed_on(&self.files[&file], name) {
                    Some(source) => {
                        let source = [vec!["self".to_owned()], source].concat();
                        self.resolve(&module, &source).or(Some(file))
                    }
                    None => Some(file),
                };
            }
            rest = after;
        }
        self.file_of(&module)
    }

    fn file_of(&self, module: &[String]) -> Option<String> {
        let path = module.join("/");
        let candidates = [format!("{path}.rs"), format!("{path}/mod.rs"), "lib.rs".to_owned()];
        let candidates = if module.is_empty() { &candidates[2..] } else { &candidates[..2] };
        candidates.iter().find(|file| self.files.contains_key(*file)).cloned()
    }
}

/// The module that a file is.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The path from which a file passes a name on (`pub use`), if it does.
fn passed_on(file: &syn::File, name: &str) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    for item in &file.items {
        if let Item::Use(item) = item
            && !matches!(item.vis, syn::Visibility::Inherited)
        {
            spread(&item.tree, &mut Vec::new(), &mut paths);
        }
    }
    // A macro passes on its own name.
    paths.into_iter().find(|path| path.len() > 1 && path.last().is_some_and(|last| last == name))
}

/// The paths that a `use` names.
fn spread(tree: &UseTree, prefix: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            spread(&path.tree, prefix, out);
            prefix.pop();
        }
        UseTree::Name(name) if name.ident == "self" => out.push(prefix.clone()),
        UseTree::Name(name) => out.push([prefix.as_slice(), &[name.ident.to_string()]].concat()),
        UseTree::Rename(name) => out.push([prefix.as_slice(), &[name.ident.to_string()]].concat()),
        UseTree::Glob(_) => out.push(prefix.clone()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| spread(tree, prefix, out)),
    }
}

/// Collects the paths in a file that begin with `crate`, `super` or `self`.
struct Paths {
    found: Vec<Vec<String>>,
    /// A face passes names on, which is no arrow of its own.
    is_face: bool,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !self.is_face || matches!(item.vis, syn::Visibility::Inherited) {
            spread(&item.tree, &mut Vec::new(), &mut self.found);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        // A module inside a file is its tests.
        let is_test = item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if item.content.is_some() && !is_test {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 && ["crate", "super"].contains(&names[0].as_str()) {
            self.found.push(names);
        }
        visit::visit_path(self, path);
    }
}
