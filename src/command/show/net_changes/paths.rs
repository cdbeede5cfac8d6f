//! Paths of recorded changes: in one spelling, and as the patch names them.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShownPath<'p> {
    /// Below the folder, else as it is.
    pub(super) text: &'p str,
    /// Whether a patch for the folder can name it.
    pub(super) is_inside: bool,
}

impl<'p> ShownPath<'p> {
    /// Git and `patch` refuse absolute paths.
    pub(super) fn in_patch(self) -> &'p str {
        self.text.trim_start_matches('/')
    }
}

/// Without `.` and `..`, by the text alone. A relative path is one of the folder.
pub(super) fn normal(folder: Option<&str>, path: &str) -> String {
    let folder = folder.filter(|_| !path.starts_with('/')).unwrap_or_default();
    let is_absolute = path.starts_with('/') || folder.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in folder.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => _ = names.pop(),
            // The root is its own parent.
            ".." if is_absolute => {}
            name => names.push(name),
        }
    }
    format!("{}{}", if is_absolute { "/" } else { "" }, names.join("/"))
}

/// Both in their normal form.
pub(super) fn below<'p>(folder: Option<&str>, path: &'p str) -> ShownPath<'p> {
    let within = folder.and_then(|folder| path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/'));
    let text = within.unwrap_or(path);
    let is_inside = !matches!(text.split('/').next(), Some("" | "..") | None);
    ShownPath { text, is_inside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling_and_is_inside_of_the_folder_or_not() {
        let table = [
            (Some("/w"), "/w/x", "/w/x", "x", true),
            (Some("/w/"), "/w/./a//x", "/w/a/x", "a/x", true),
            (Some("/w"), "a/../x", "/w/x", "x", true),
            (Some("/w"), "/w/../etc/x", "/etc/x", "/etc/x", false),
            (Some("/w"), "../../../x", "/x", "/x", false),
            (Some("/w"), "/w2/x", "/w2/x", "/w2/x", false),
            (Some("/w"), "/w/", "/w", "/w", false),
            (Some("/w"), "", "/w", "/w", false),
            (Some("/"), "/x", "/x", "x", true),
            (Some("/v/../w"), "/w/x", "/w/x", "x", true),
            (None, "/x", "/x", "/x", false),
            (None, "a/../x", "x", "x", true),
            (None, "a/../../../x", "../../x", "../../x", false),
            (None, "", "", "", false),
        ];
        for (folder, path, expected, text, is_inside) in table {
            let path = normal(folder, path);
            assert_eq!(path, expected);
            let folder = folder.map(|folder| normal(None, folder));
            assert_eq!(below(folder.as_deref(), &path), ShownPath { text, is_inside }, "{path}");
        }
    }
}
