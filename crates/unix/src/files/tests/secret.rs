//! The operator's secrets, under every name there is.

use super::super::Root;
use super::{Site, contents};
use drywire_core::FileError;
use drywire_server::{Config, Secrets};
use std::fs;
use std::path::{Path, PathBuf};

/// With openat2 and without, and the secrets they share.
fn roots(site: &Site, secrets: &[&Path]) -> ([Root; 2], Secrets) {
    let secrets: Secrets = secrets.iter().copied().collect();
    (site.roots().map(|root| root.with_secrets(secrets.clone())), secrets)
}

#[track_caller]
fn assert_secret(root: &Root, name: &str) {
    let answer = root.open_beneath(name.as_bytes()).map(|file| contents(&file));
    assert_eq!(answer, Err(FileError::NotFound), "{name}");
}

#[track_caller]
fn assert_opens(root: &Root, name: &str) {
    root.open_beneath(name.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Without openat2 a symlink is refused as one.
#[track_caller]
fn assert_refused(root: &Root, name: &str) {
    let answer = root.open_beneath(name.as_bytes()).map(|file| contents(&file));
    assert!(matches!(answer, Err(FileError::NotFound | FileError::Forbidden)), "{name}: {answer:?}");
}

#[test]
fn secret_file_is_not_there_under_any_name() {
    let site = Site::new();
    let key = site.served.join("key");
    fs::write(&key, "secret").unwrap();
    fs::hard_link(&key, site.served.join("sub/hard")).unwrap();
    site.link("key", "soft");
    let (roots, _) = roots(&site, &[&key]);
    for root in &roots {
        for name in ["key", "sub/../key", "./key", "sub/hard"] {
            assert_refused(root, name);
        }
        for name in ["key", "./key", "sub/hard"] {
            assert_secret(root, name);
        }
        assert_refused(root, "soft");
        for name in ["file", "sub/deep/file"] {
            assert_opens(root, name);
        }
    }
    assert_secret(&roots[0], "soft");
    fs::rename(&key, site.served.join("moved")).unwrap();
    roots.iter().for_each(|root| assert_secret(root, "moved"));
}

#[test]
fn secret_may_be_named_by_a_link_and_may_lie_outside() {
    let site = Site::new();
    let key = site.outside.join("key");
    fs::write(&key, "secret").unwrap();
    fs::hard_link(&key, site.served.join("hard")).unwrap();
    let link = site.outside.join("link");
    std::os::unix::fs::symlink("key", &link).unwrap();
    for root in roots(&site, &[&link]).0 {
        assert_secret(&root, "hard");
    }
}

/// The key that was loaded, and the one that its path names before it is read again.
#[test]
fn renewed_key_is_a_secret_before_it_is_read_and_the_old_one_stays_one() {
    let site = Site::new();
    let key = site.served.join("key");
    fs::write(&key, "first").unwrap();
    let (roots, secrets) = roots(&site, &[&key]);
    for generation in ["second", "third", "fourth"] {
        fs::rename(&key, site.served.join(format!("before-{generation}"))).unwrap();
        fs::write(&key, generation).unwrap();
        // As the code that reads the key does; no file is opened in between.
        secrets.look();
    }
    for root in &roots {
        for name in ["key", "before-second", "before-third", "before-fourth"] {
            assert_secret(root, name);
        }
    }
    fs::rename(&key, site.served.join("old")).unwrap();
    fs::write(site.served.join("fifth"), "fifth").unwrap();
    assert_opens(&roots[0], "fifth");
    fs::rename(site.served.join("fifth"), &key).unwrap();
    for root in &roots {
        for name in ["key", "old"] {
            assert_secret(root, name);
        }
    }
}

#[test]
fn secret_that_is_missing_is_one_as_soon_as_it_is_there() {
    let site = Site::new();
    let key = site.served.join("key");
    let (roots, _) = roots(&site, &[&key, Path::new("/nowhere/at/all")]);
    for root in &roots {
        assert_secret(root, "key");
        assert_opens(root, "file");
    }
    fs::write(&key, "secret").unwrap();
    roots.iter().for_each(|root| assert_secret(root, "key"));
}

/// Some file systems give the inode of a removed file to the next one.
#[test]
fn inode_of_a_key_that_was_removed_is_given_to_no_other_file() {
    let site = Site::new();
    let key = site.served.join("key");
    fs::write(&key, "secret").unwrap();
    let (roots, _) = roots(&site, &[&key]);
    fs::remove_file(&key).unwrap();
    for n in 0..100 {
        let name = format!("public-{n}");
        fs::write(site.served.join(&name), "public").unwrap();
        roots.iter().for_each(|root| assert_opens(root, &name));
    }
}

#[test]
fn what_is_in_a_secret_directory_is_not_there_whatever_leads_to_it() {
    let site = Site::new();
    let shelf = site.served.join("sub/shelf");
    fs::create_dir_all(shelf.join("old/older")).unwrap();
    fs::write(shelf.join("a"), "secret").unwrap();
    fs::write(shelf.join("old/older/b"), "secret").unwrap();
    fs::write(site.served.join("sub/shelf-2"), "public").unwrap();
    fs::hard_link(shelf.join("a"), site.served.join("hard")).unwrap();
    fs::hard_link(site.served.join("file"), site.served.join("twice")).unwrap();
    site.link("sub/shelf", "directory");
    site.link("sub/shelf/old/older", "deeper");
    site.link("sub/shelf/a", "soft");
    site.link("soft", "softer");
    site.link("deeper/../../../deep/../shelf-2", "through");
    site.link("sub/deep/file", "innocent");
    let (roots, _) = roots(&site, &[&shelf]);
    for root in &roots {
        for name in ["sub/shelf/a", "sub/shelf/old/older/b", "sub//shelf/./a", "hard"] {
            assert_secret(root, name);
        }
        for name in ["directory/a", "deeper/b", "soft", "softer"] {
            assert_refused(root, name);
        }
        for name in ["file", "twice", "sub/deep/file", "sub/shelf-2"] {
            assert_opens(root, name);
        }
    }
    for name in ["directory/a", "deeper/b", "soft", "softer"] {
        assert_secret(&roots[0], name);
    }
    for name in ["through", "innocent"] {
        assert_opens(&roots[0], name);
    }
    fs::rename(&shelf, site.served.join("renamed")).unwrap();
    for root in &roots {
        for name in ["renamed/a", "renamed/old/older/b"] {
            assert_secret(root, name);
        }
    }
}

/// One that lies beside the root, as that of recordings: its files are found by their other name.
#[test]
fn hard_link_of_a_file_in_a_secret_directory_outside_is_not_there() {
    let site = Site::new();
    fs::hard_link(site.outside.join("file"), site.served.join("hard")).unwrap();
    let (roots, _) = roots(&site, &[&site.outside]);
    for root in &roots {
        assert_secret(root, "hard");
        assert_opens(root, "file");
    }
    fs::rename(&site.outside, site.served.join("inside")).unwrap();
    roots.iter().for_each(|root| assert_secret(root, "inside/file"));
}

#[test]
fn directory_above_the_root_does_not_hide_the_root() {
    let site = Site::new();
    let above = site.served.parent().unwrap();
    for root in roots(&site, &[above]).0 {
        assert_opens(&root, "sub/deep/file");
    }
    for root in roots(&site, &[&site.served]).0 {
        assert_secret(&root, "sub/deep/file");
    }
}

#[test]
fn key_of_the_configuration_is_a_secret_and_its_certificate_is_not() {
    let site = Site::new();
    fs::write(site.served.join("key"), "secret").unwrap();
    fs::write(site.served.join("cert"), "public").unwrap();
    let mut config = Config::new().root(site.served.clone());
    config.tls.key = Some(site.served.join("key"));
    config.tls.cert = Some(site.served.join("cert"));
    let files = super::super::Files::new(&config).unwrap();
    assert_secret(files.root().unwrap(), "key");
    assert_opens(files.root().unwrap(), "cert");
}

#[test]
fn no_more_are_remembered_than_there_may_be() {
    let site = Site::new();
    let key = site.served.join("key");
    let (roots, secrets) = roots(&site, &[&key]);
    for n in 0..=Secrets::HELD + 1 {
        fs::write(&key, "secret").unwrap();
        secrets.look();
        fs::rename(&key, site.served.join(n.to_string())).unwrap();
    }
    secrets.look();
    assert_opens(&roots[0], "0");
    assert_opens(&roots[0], "1");
    assert_secret(&roots[0], "2");
    assert_secret(&roots[0], &(Secrets::HELD + 1).to_string());
}

/// What is forgotten is what no path names any more, however many are named.
#[test]
fn all_that_are_named_are_secrets() {
    let site = Site::new();
    let keys: Vec<_> = (0..2 * Secrets::HELD).map(|n| site.served.join(n.to_string())).collect();
    for key in &keys {
        fs::write(key, "secret").unwrap();
    }
    let (roots, _) = roots(&site, &keys.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    for n in 0..keys.len() {
        assert_secret(&roots[0], &n.to_string());
    }
}
