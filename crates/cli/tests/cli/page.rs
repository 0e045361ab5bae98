//! `drywire trace --html`, in a real browser without a screen.

use crate::support::{Program, bounded, drywire, installed, read_to_end};
use crate::tapes::{Talk, fixed};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Browsers that are Chromium, by the names they are installed under.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn browser() -> Option<PathBuf> {
    installed(&BROWSERS, "chromium", "to look at the page with")
}

/// A page, and where it is.
struct Page {
    directory: TempDir,
    html: String,
}

impl Page {
    #[track_caller]
    fn new(talk: Talk) -> Page {
        let directory = tempfile::tempdir().unwrap();
        let recording = talk.write(directory.path(), "a.dwr");
        let path = directory.path().join("page.html");
        let args = ["trace", recording.to_str().unwrap(), "--html", path.to_str().unwrap()];
        Program::start(&mut drywire(&args)).exits_with(0);
        let html = fs::read_to_string(&path).unwrap();
        Page { directory, html }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("page.html")
    }

    /// What the browser made of it, in a window of this size.
    #[track_caller]
    fn seen(&self, browser: &Path, fragment: &str, window: &str) -> Seen {
        let profile = tempfile::tempdir().unwrap();
        let mut command = Command::new(browser);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={window}"))
            .arg(format!("file://{}{fragment}", self.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut program = Program::start(&mut command);
        let stdout = program.stdout();
        let dom = String::from_utf8(bounded("the browser is done", move || read_to_end(stdout))).unwrap();
        program.wait();
        let end = dom.find("<head").unwrap_or_else(|| panic!("no page: {dom}"));
        Seen { root: dom[..end].to_owned(), dom }
    }
}

struct Seen {
    /// The tag of the document, with what the script noted on it.
    root: String,
    dom: String,
}

impl Seen {
    fn note(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.root.split_once(&format!("data-{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    }

    #[track_caller]
    fn is_without_errors(&self) {
        assert_eq!(self.note("error"), None, "{}", self.root);
        assert!(self.note("ready").is_some(), "the script ran to its end: {}", self.root);
    }
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

#[test]
fn page_runs_in_a_browser_with_a_lane_for_everything_and_a_mark_for_each_row() {
    let Some(browser) = browser() else { return };
    let page = Page::new(fixed());
    let seen = page.seen(&browser, "", "1300,900");
    seen.is_without_errors();
    let lanes = ["from-peer", "to-peer", "files", "application", "reading", "input", "output", "waits", "deadlines"];
    for lane in lanes {
        assert_eq!(count(&seen.dom, &format!("id=\"lane-{lane}\"")), 1, "{lane}");
    }
    for id in ["level-input", "level-output", "close", "reason", "axis"] {
        assert_eq!(count(&seen.dom, &format!("id=\"{id}\"")), 1, "{id}");
    }
    let rows = count(&seen.dom, "<tr id=\"entry-");
    assert!(rows > 15, "{rows}");
    assert_eq!(count(&seen.dom, "<a id=\"mark-"), rows);
    assert_eq!(seen.note("ready"), Some(rows.to_string().as_str()));
    assert_eq!(seen.note("picked"), None);
}

#[test]
fn fragment_selects_the_entry_in_the_drawing_and_in_the_table() {
    let Some(browser) = browser() else { return };
    let page = Page::new(fixed());
    for (fragment, picked) in [("#entry-9", "entry-9"), ("#mark-9", "entry-9"), ("#entry-10", "entry-9")] {
        let seen = page.seen(&browser, fragment, "1300,900");
        seen.is_without_errors();
        assert_eq!(seen.note("picked"), Some(picked), "{fragment}");
        assert_eq!(count(&seen.dom, "aria-current=\"true\""), 1);
        let row = seen.dom.split_once(&format!("<tr id=\"{picked}\"")).unwrap().1;
        assert!(row.split_once('>').unwrap().0.contains("picked"), "{fragment}");
        let mark = seen.dom.split_once("<a id=\"mark-9\"").unwrap().1;
        assert!(mark.split_once('>').unwrap().0.contains("picked"), "{fragment}");
    }
    let none = page.seen(&browser, "#entry-x", "1300,900");
    none.is_without_errors();
    assert_eq!(none.note("picked"), None);
}

/// What a person does, done by a script; for that the policy has to go.
#[test]
fn keys_clicks_and_the_filter_select_rows() {
    let Some(browser) = browser() else { return };
    let page = Page::new(fixed());
    let (front, rest) = page.html.split_once("<meta http-equiv").unwrap();
    let rest = rest.split_once('>').unwrap().1;
    for (person, picked, rows) in [
        ("press('ArrowRight')", Some("entry-1"), "20 rows"),
        ("press('ArrowRight'); press('ArrowRight'); press('ArrowDown'); press('ArrowUp')", Some("entry-3"), "20 rows"),
        ("press('End'); press('ArrowRight')", Some("entry-33"), "20 rows"),
        ("press('End'); press('Home')", Some("entry-1"), "20 rows"),
        ("click('#mark-14')", Some("entry-14"), "20 rows"),
        ("click('#entry-12 .what')", Some("entry-12"), "20 rows"),
        ("find('PEER'); press('Home'); press('ArrowRight')", Some("entry-7"), "4 of 20 rows"),
        ("find('no such thing'); press('ArrowRight')", None, "0 of 20 rows"),
        ("find('peer'); find('')", None, "20 rows"),
    ] {
        let script = format!(
            "<script>
            const at = what => document.querySelector(what);
            const press = key => at('#strip').dispatchEvent(new KeyboardEvent('keydown', {{ key, bubbles: true }}));
            const click = what => at(what).dispatchEvent(new MouseEvent('click', {{ bubbles: true, cancelable: true }}));
            const find = text => {{ at('#filter').value = text; at('#filter').dispatchEvent(new Event('input')); }};
            {person};
            </script></body>"
        );
        fs::write(page.path(), format!("{front}{}", rest.replace("</body>", &script))).unwrap();
        let seen = page.seen(&browser, "", "1300,900");
        seen.is_without_errors();
        assert_eq!(seen.note("picked"), picked, "{person}");
        assert!(seen.dom.contains(&format!(">{rows}</output>")), "{person}");
    }
}

#[test]
fn page_of_nothing_runs_too() {
    let directory = tempfile::tempdir().unwrap();
    let recording = fixed().write(directory.path(), "a.dwr");
    let path = directory.path().join("page.html");
    let args = ["trace", recording.to_str().unwrap(), "--from", "1h", "--html", path.to_str().unwrap()];
    Program::start(&mut drywire(&args)).exits_with(0);
    let html = fs::read_to_string(path).unwrap();
    assert_eq!(count(&html, "<tr id="), 0);
    let Some(browser) = browser() else { return };
    let seen = Page { directory, html }.seen(&browser, "", "1300,900");
    seen.is_without_errors();
}

#[test]
fn page_does_not_overflow_windows_wide_or_narrow() {
    let Some(browser) = browser() else { return };
    let long = (0..400).fold(Talk::new(), |talk, _| talk.after(3).says(b"a line that says nothing much and goes on\n"));
    for page in [Page::new(fixed()), Page::new(long)] {
        for window in ["1600,1000", "500,800"] {
            let seen = page.seen(&browser, "", window);
            seen.is_without_errors();
            let (needed, there) = seen.note("width").unwrap().split_once('/').unwrap();
            let (needed, there): (u32, u32) = (needed.parse().unwrap(), there.parse().unwrap());
            assert!(needed <= there, "{needed} pixels in a window of {there}");
        }
    }
}

const EVIL: &[u8] = b"</script><img src=x onerror=\"document.documentElement.dataset.error='evil'\">\
    <script>document.documentElement.dataset.error='evil'</script>'\"&lt;\n";

#[test]
fn fault_71_markup_of_a_peer_stays_text() {
    let page = Page::new(Talk::new().says(EVIL).after(1).ends().after(1).ends());
    for tag in ["<img", "<script>document", "onerror=\""] {
        assert_eq!(count(&page.html, tag), 0, "{tag}");
    }
    assert_eq!(count(&page.html, "<script"), 1);
    assert!(page.html.contains("&lt;/script&gt;&lt;img src=x"));
    let Some(browser) = browser() else { return };
    let seen = page.seen(&browser, "", "1300,900");
    seen.is_without_errors();
    assert_eq!(count(&seen.dom, "<img"), 0);
}

/// The control: were it not escaped, the browser would not run it, and would say so.
#[test]
fn fault_71_script_that_is_not_ours_is_not_run_even_if_it_gets_in() {
    let Some(browser) = browser() else { return };
    let page = Page::new(fixed());
    for evil in [
        "<script>document.documentElement.dataset.evil='1'</script>",
        "<img src=\"http://127.0.0.1:9/x.png\">",
        "<p style=\"color:red\">",
    ] {
        fs::write(page.path(), page.html.replace("<footer>", &format!("{evil}<footer>"))).unwrap();
        let seen = page.seen(&browser, "", "1300,900");
        assert_eq!(seen.note("evil"), None);
        assert!(!page.html.contains("data-evil"));
    }
    let late = "<footer><button id=\"late\" onclick=\"1\"></button><iframe src=\"http://127.0.0.1:9/\"></iframe>";
    let html = page.html.replace("</script>", "\ndocument.documentElement.dataset.evil = 1;</script>");
    fs::write(page.path(), html.replace("<footer>", late)).unwrap();
    let seen = page.seen(&browser, "", "1300,900");
    assert_eq!((seen.note("evil"), seen.note("ready")), (None, None), "a script with another digest does not run");
}

#[test]
fn nothing_is_asked_of_a_network() {
    let page = Page::new(fixed());
    for what in ["http:", "https:", "src=", "@import", "<link", "<iframe", "fetch(", "XMLHttpRequest"] {
        assert!(!page.html.contains(what), "{what}");
    }
    // The one place where another resource is named: a part of the same drawing.
    assert_eq!(count(&page.html, "url("), count(&page.html, "url(#hatch)"));
    assert!(page.html.contains("default-src 'none'"));
}

#[test]
fn page_of_very_many_entries_says_what_it_left_out_and_still_runs() {
    let talk = (0..5_000).fold(Talk::new(), |talk, n| talk.after(n % 7).says(b"x\n"));
    let page = Page::new(talk.after(1).ends().after(1).ends());
    assert_eq!(count(&page.html, "<tr id=\"entry-"), 10_000);
    assert!(page.html.contains(" rows in the middle are left out here: a page shows 10000."));
    assert!(page.html.contains("closed: finished"), "the end is not what is left out");
    assert!(page.html.len() < 8 << 20, "{} bytes", page.html.len());
    let Some(browser) = browser() else { return };
    let seen = page.seen(&browser, "#entry-20000", "1300,900");
    seen.is_without_errors();
    assert_eq!(seen.note("ready"), Some("10000"));
    assert!(seen.note("picked").is_some());
}

#[test]
fn page_goes_to_standard_output_too_and_a_path_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let recording = fixed().write(directory.path(), "a.dwr");
    let recording = recording.to_str().unwrap();
    let mut program = Program::start(&mut drywire(&["trace", recording, "--html", "-"]));
    let html = read_to_end(program.stdout());
    program.exits_with(0);
    assert!(html.starts_with(b"<!doctype html>") && html.ends_with(b"</html>\n"));
    let stderr = Program::start(&mut drywire(&["trace", recording, "--html", "/nowhere/at/all.html"])).exits_with(1);
    assert!(stderr.starts_with("drywire: cannot write /nowhere/at/all.html: No such file"), "{stderr}");
}
