//! Fetched lists on disk.

use pki_types::UnixTime;
use smtp_tls_policy::Reason;
use smtp_tls_policy::pki::Revocation;

use crate::web::{Answer, SERIAL};
use crate::world::{Folder, World, connector, in_seconds, judge};

#[tokio::test]
async fn lists_are_kept_on_disk_and_damaged_files_are_set_aside() {
    let folder = Folder::new("crl-fetch-kept");
    let world = World::with_wanted_list().await;
    let fetcher = world.fetcher().with_directory(&folder.0);
    assert_eq!(fetcher.load(UnixTime::now()).await.unwrap(), 0);
    fetcher.refresh(UnixTime::now()).await;
    let files = folder.files("crl");
    assert_eq!((files.len(), folder.files("new").len()), (1, 0));

    // After a restart, without the network.
    let (trust, again) = world.restart(&folder);
    assert_eq!(world.judge_by(&trust), Reason::RevocationUnknown);
    assert_eq!(again.load(UnixTime::now()).await.unwrap(), 1);
    assert_eq!(world.judge_by(&trust), Reason::TlsOk);
    world.web.requests();
    assert!(again.refresh(UnixTime::now()).await.is_empty());
    assert_eq!(world.web.requests(), 0);

    // Damaged in the list, and in the head; files of another kind stay.
    let octets = std::fs::read(&files[0]).unwrap();
    std::fs::write(folder.0.join("notes.txt"), b"x").unwrap();
    let damages = [&octets[..octets.len() - 9], &octets[1..], b"", b"\n\n\n"];
    for (number, damaged) in damages.iter().cycle().take(12).enumerate() {
        std::fs::write(&files[0], damaged).unwrap();
        let (trust, fetcher) = world.restart(&folder);
        assert_eq!(fetcher.load(UnixTime::now()).await.unwrap(), 0);
        // The newest of them stay, for an administrator to look at.
        assert_eq!((folder.files("crl").len(), folder.damaged()), (0, 8.min(number + 1)));
        assert_eq!(world.judge_by(&trust), Reason::RevocationUnknown);
    }
    assert_eq!(folder.files("txt").len(), 1);
}

/// A file of a later version is of use to that version, and one bad entry is no reason to do
/// without the other lists.
#[tokio::test]
async fn kept_list_of_a_later_version_stays_and_a_folder_or_dangling_link_spoils_no_other() {
    let folder = Folder::new("crl-fetch-newer");
    let world = World::with_wanted_list().await;
    world.fetcher().with_directory(&folder.0).refresh(UnixTime::now()).await;
    let file = folder.files("crl").remove(0);
    std::fs::create_dir(folder.0.join("0.crl")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.0.join("nowhere"), folder.0.join("00.crl")).unwrap();
    assert_eq!(world.restart(&folder).1.load(UnixTime::now()).await.unwrap(), 1);
    assert_eq!(folder.damaged(), 1);

    let written = std::fs::read(&file).unwrap();
    let newer = [b"smtp revocation list 2", &written[b"smtp revocation list 1".len()..]].concat();
    std::fs::write(&file, &newer).unwrap();
    let (trust, fetcher) = world.restart(&folder);
    assert_eq!(fetcher.load(UnixTime::now()).await.unwrap(), 0);
    assert_eq!(world.judge_by(&trust), Reason::RevocationUnknown);
    fetcher.refresh(UnixTime::now()).await;
    assert_eq!(world.judge_by(&trust), Reason::TlsOk);
    assert_eq!(std::fs::read(&file).unwrap(), newer);
}

#[tokio::test]
async fn file_of_a_replaced_list_is_removed_and_an_older_one_is_not_called_damaged() {
    let folder = Folder::new("crl-fetch-replaced");
    let world = World::new(&["/1.crl", "/2.crl"]).await;
    let url = world.web.url("/1.crl");
    let fetcher = world.fetcher().with_directory(&folder.0);
    world.web.answer("/1.crl", Answer::List(world.root.list(1, &[], (1, 25), &url)));
    world.judge();
    fetcher.refresh(UnixTime::now()).await;
    let older = std::fs::read(folder.files("crl").remove(0)).unwrap();
    // By another URL of the same list.
    world.web.answer("/2.crl", Answer::List(world.root.list(2, &[SERIAL], (0, 48), &url)));
    fetcher.refresh(in_seconds(18 * 3600)).await;
    assert_eq!(folder.files("crl").len(), 1);
    assert_eq!(world.judge_after_restart(&folder).await, (1, Reason::CertRevoked));

    // A crash came before the older file was removed, and while another was written. Whichever is
    // read first, the newer one counts.
    for name in ["0.crl", "zz.crl", "half.new"] {
        std::fs::write(folder.0.join(name), &older).unwrap();
    }
    let (loaded, reason) = world.judge_after_restart(&folder).await;
    assert!((1..=2).contains(&loaded), "{loaded}");
    assert_eq!(reason, Reason::CertRevoked);
    let count = |suffix| folder.files(suffix).len();
    assert_eq!((count("crl"), folder.damaged(), count("new")), (1, 0, 0));
}

#[tokio::test]
async fn list_that_certificates_name_by_different_urls_has_one_file() {
    let folder = Folder::new("crl-fetch-shared");
    let world = World::new(&["/a.crl", "/b.crl"]).await;
    let urls = ["/a.crl", "/c.crl"].map(|path| world.web.url(path));
    let other = world.root.leaf(&urls).cert[0].clone();
    world.web.answer("/a.crl", Answer::List(world.root.list(1, &[], (1, 25), &urls[0])));
    world.judge();
    judge(&other, &connector(Revocation::Hard), &world.trust, UnixTime::now());
    let fetched = world.fetcher().with_directory(&folder.0).refresh(UnixTime::now()).await;
    assert_eq!((fetched.len(), folder.files("crl").len(), folder.files("new").len()), (2, 1, 0));
    assert_eq!(world.judge_after_restart(&folder).await, (1, Reason::TlsOk));
}

/// The program calls `load` for itself, and `run` does so again.
#[tokio::test]
async fn list_that_is_loaded_is_not_read_again() {
    let folder = Folder::new("crl-fetch-again");
    let world = World::with_wanted_list().await;
    world.fetcher().with_directory(&folder.0).refresh(UnixTime::now()).await;
    let (trust, fetcher) = world.restart(&folder);
    for loaded in [1, 0, 0] {
        assert_eq!(fetcher.load(UnixTime::now()).await.unwrap(), loaded);
        assert_eq!((world.judge_by(&trust), folder.files("crl").len()), (Reason::TlsOk, 1));
    }
}
