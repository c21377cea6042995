//! Where the lines of a dump go.
//!
//! A file appears under its name only when it is whole: it is written beside it, synced and then renamed. That is for files alone. A
//! device or FIFO would be replaced by a file, so it is written to as it is; of a symbolic link the file that it names is replaced,
//! and the link stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::cli::exit::Failure;
use crate::cli::output::{Reader, written};

const BUFFER_BYTES: usize = 256 * 1024;
/// Most links that are followed one after the other, as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Where lines go.
pub(super) enum Sink {
    /// Standard output.
    Output(BufWriter<io::Stdout>),
    /// As they are.
    Plain { file: BufWriter<File>, place: Place },
    /// Compressed.
    Gzip { file: Box<GzEncoder<BufWriter<File>>>, place: Place },
}

/// What is written to.
pub(super) enum Place {
    /// A file, which is written beside its name until it is whole.
    File { name: PathBuf, unfinished: PathBuf },
    /// A device or FIFO.
    Direct(PathBuf),
}

impl Sink {
    /// Opens a place by its name; none is standard output. Waits for the reader of a FIFO.
    ///
    /// # Errors
    /// If it cannot be written, or is a directory.
    pub(super) fn open(out: Option<&Path>) -> Result<Self, Failure> {
        let Some(name) = out else { return Ok(Self::Output(BufWriter::with_capacity(BUFFER_BYTES, io::stdout()))) };
        let (file, place) = Place::open(name)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        if name.extension().is_some_and(|extension| extension == "gz") {
            let file = Box::new(GzEncoder::new(file, Compression::default()));
            return Ok(Self::Gzip { file, place });
        }
        Ok(Self::Plain { file, place })
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// If they cannot be written, unless their reader went away.
    pub(super) fn write(&mut self, lines: &[u8]) -> Result<Reader, Failure> {
        match self {
            Self::Output(output) => written(output.write_all(lines), Path::new("standard output")),
            Self::Plain { file, place } => written(file.write_all(lines), place.name()),
            Self::Gzip { file, place } => written(file.write_all(lines), place.name()),
        }
    }

    /// Brings everything where it belongs.
    ///
    /// # Errors
    /// If that fails; of a file nothing is left behind then.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let (file, place) = match self {
            Self::Output(mut output) => return written(output.flush(), Path::new("standard output")).map(|_| ()),
            Self::Plain { file, place } => (Ok(file), place),
            Self::Gzip { file, place } => (file.finish(), place),
        };
        let file = file.and_then(|file| file.into_inner().map_err(io::IntoInnerError::into_error));
        let finished = file.and_then(|file| place.finish(&file));
        if finished.is_err() {
            place.abandon();
        }
        written(finished, place.name()).map(|_| ())
    }

    /// Leaves nothing behind.
    pub(super) fn abandon(self) {
        if let Self::Plain { place, .. } | Self::Gzip { place, .. } = self {
            place.abandon();
        }
    }
}

impl Place {
    fn open(name: &Path) -> Result<(File, Self), Failure> {
        let refused = |error| Failure::file("write", name, &error);
        match fs::metadata(name) {
            Ok(found) if found.is_dir() => {
                Err(Failure::local(format!("cannot write {}: it is a directory", name.display()))
                    .help("name a file in it, as in --out DIRECTORY/dump.jsonl.gz"))
            }
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(name).map_err(refused)?;
                Ok((file, Self::Direct(name.to_owned())))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(refused(error)),
            // A file, or none yet, perhaps behind links.
            _ => Self::beside(behind_links(name).map_err(refused)?),
        }
    }

    fn beside(name: PathBuf) -> Result<(File, Self), Failure> {
        let mut unfinished = name.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        let opened = only_a_file(&unfinished).and_then(|()| File::create(&unfinished));
        let file = opened.map_err(|error| Failure::file("write", &unfinished, &error))?;
        Ok((file, Self::File { name, unfinished }))
    }

    fn name(&self) -> &Path {
        match self {
            Self::File { name, .. } | Self::Direct(name) => name,
        }
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        match self {
            Self::File { name, unfinished } => {
                file.sync_all()?;
                only_a_file(name)?;
                fs::rename(unfinished, name)
            }
            // Disks can be synced; FIFOs and terminals cannot, and need not.
            Self::Direct(_) => match file.sync_all() {
                Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
                _ => Ok(()),
            },
        }
    }

    fn abandon(&self) {
        if let Self::File { unfinished, .. } = self {
            // What matters is that nothing stands under the file's name; the rest is tidiness.
            let _ = fs::remove_file(unfinished);
        }
    }
}

/// The name at the end of a chain of symbolic links, where there may be nothing yet.
fn behind_links(name: &Path) -> io::Result<PathBuf> {
    let mut name = name.to_owned();
    for _ in 0..LINKS_MAX {
        if !fs::symlink_metadata(&name).is_ok_and(|found| found.is_symlink()) {
            return Ok(name);
        }
        let target = fs::read_link(&name)?;
        // An absolute target takes the place of all.
        name = name.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Refuses what a file must not take the place of.
fn only_a_file(name: &Path) -> io::Result<()> {
    match fs::symlink_metadata(name) {
        Ok(found) if !found.is_file() => Err(io::Error::other("it is there already, and is no file")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;
    use std::thread;

    use super::*;

    const LINE: &[u8] = b"{\"key\":\"a\",\"value\":1}\n";

    fn dump(name: &Path) -> Result<(), Failure> {
        let mut sink = Sink::open(Some(name))?;
        sink.write(LINE)?;
        sink.finish()
    }

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("listed").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_fifo_is_written_to_and_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let fifo = directory.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there").success());
        let reader = thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).expect("it is read")
        });
        dump(&fifo).expect("written");
        assert!(fs::symlink_metadata(&fifo).expect("it is there").file_type().is_fifo());
        assert_eq!(reader.join().expect("reading does not panic"), LINE);
        assert_eq!(names(directory.path()), ["fifo"]);
    }

    #[test]
    fn a_device_that_is_full_says_so_and_stays() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let device = directory.path().join("full");
        // The numbers of /dev/full, under a name that nobody else uses.
        let made = Command::new("mknod").arg(&device).args(["c", "1", "7"]).output().expect("mknod is there");
        if !made.status.success() {
            return eprintln!("skipped: this process may not make a device");
        }
        // Where devices may not be used it is refused at once.
        dump(&device).expect_err("nothing fits");
        assert!(fs::symlink_metadata(&device).expect("it is there").file_type().is_char_device());
        assert_eq!(names(directory.path()), ["full"]);
    }

    #[test]
    fn the_file_that_links_name_is_replaced_and_the_links_stay() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("deep")).expect("made");
        fs::write(path("deep/file"), "old").expect("written");
        symlink("deep/second", path("first")).expect("made");
        symlink("file", path("deep/second")).expect("made");
        symlink("deep/new", path("dangling")).expect("made");
        for (link, file) in [("first", "deep/file"), ("dangling", "deep/new")] {
            dump(&path(link)).expect("written");
            assert!(path(link).is_symlink(), "{link}");
            assert!(fs::symlink_metadata(path(file)).expect("it is there").is_file(), "{file}");
            assert_eq!(fs::read(path(file)).expect("it is there"), LINE);
        }
        symlink("circle", path("circle")).expect("made");
        dump(&path("circle")).expect_err("it names nothing");
        assert_eq!(names(&path("deep")), ["file", "new", "second"]);
    }

    #[test]
    fn a_directory_is_refused_and_so_is_what_takes_the_name_meanwhile() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        let refused = dump(directory.path()).expect_err("it is a directory");
        assert!(refused.message.ends_with("it is a directory"), "{}", refused.message);
        let sink = Sink::open(Some(&path("name"))).expect("there is nothing");
        symlink("elsewhere", path("name")).expect("made");
        let refused = sink.finish().expect_err("a link is there now");
        assert!(refused.message.contains("no file"), "{}", refused.message);
        assert_eq!(names(directory.path()), ["name"], "nothing is left behind");
    }
}
