//! Layers of images over each other, honest ones and others.

use super::super::error::UnzipError;
use super::super::image::unpack;
use super::super::limits::Limits;
use super::{LIMITS, Yard, listing};
use flate2::Compression;
use flate2::write::GzEncoder;
use lamplight_model::{BundleHead, BundleLayer, ImageConfig};
use std::io::Write;
use tar::{Builder, EntryType, Header};

/// An entry: kind, path, and content or target.
type Entry<'a> = (EntryType, &'a str, &'a str);

fn file<'a>(path: &'a str, content: &'a str) -> Entry<'a> {
    (EntryType::Regular, path, content)
}

fn link<'a>(path: &'a str, target: &'a str) -> Entry<'a> {
    (EntryType::Symlink, path, target)
}

fn layer(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o4755);
        // Written directly: the builder refuses what tests are about.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let content = if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
            ""
        } else {
            content
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn bundle(layers: &[Vec<u8>]) -> Vec<u8> {
    let sizes = layers.iter().map(|layer| BundleLayer { size: layer.len() as u64, gzip: false });
    let head = BundleHead {
        format: BundleHead::FORMAT,
        config: ImageConfig::default(),
        layers: sizes.collect(),
    };
    let mut bytes = head.to_bytes();
    bytes.extend(layers.concat());
    bytes
}

impl Yard {
    fn image(&self, bytes: &[u8], limits: &Limits) -> Result<u64, UnzipError> {
        let mut file = tempfile::tempfile_in(self.dir.path()).unwrap();
        file.write_all(bytes).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        unpack(&file, &self.task(), limits).map(|(_, contents)| contents.bytes)
    }
}

fn unpacked(layers: &[&[Entry<'_>]]) -> Vec<(String, String)> {
    let yard = Yard::new();
    let layers: Vec<Vec<u8>> = layers.iter().map(|entries| layer(entries)).collect();
    yard.image(&bundle(&layers), &LIMITS).unwrap();
    assert_eq!(yard.escaped(), [""; 0]);
    let all = listing(&yard.task()).into_iter();
    all.map(|(path, (_, content))| (path, String::from_utf8(content).unwrap())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(path, content)| ((*path).into(), (*content).into())).collect()
}

#[test]
fn later_layers_replace_and_take_away() {
    let low = [
        file("a/kept", "low"),
        file("a/replaced", "low"),
        file("a/gone", "low"),
        file("b/x", "low"),
        file("b/y/z", "low"),
        file("file", "low"),
    ];
    let high = [
        file("./a/replaced", "high"),
        file("a/.wh.gone", ""),
        file("b/.wh..wh..opq", ""),
        file("b/new", "high"),
        file("file/below", "high"),
    ];
    // A file in the way of a directory goes when the directory is named.
    let named = [(EntryType::Directory, "file/", ""), high[4]];
    let found = unpacked(&[&low, &high[..4], &named]);
    let expected = [
        ("a", ""),
        ("a/kept", "low"),
        ("a/replaced", "high"),
        ("b", ""),
        ("b/new", "high"),
        ("file", ""),
        ("file/below", "high"),
    ];
    assert_eq!(found, pairs(&expected));
}

#[test]
fn links_lead_nowhere_but_into_the_image() {
    let entries = [
        link("up", "../../../../.."),
        link("root", "/"),
        file("up/one", "1"),
        file("root/two", "2"),
        (EntryType::Link, "three", "up/one"),
        file("root/.wh.a", ""),
        link("passwd", "/etc/passwd"),
        file("passwd", "its own"),
    ];
    let expected = [
        ("one", "1"),
        ("passwd", "its own"),
        ("root", "/"),
        ("three", "1"),
        ("two", "2"),
        ("up", "../../../../.."),
    ];
    assert_eq!(unpacked(&[&entries]), pairs(&expected));
}

#[test]
fn devices_are_left_out_and_bits_are_taken_away() {
    let yard = Yard::new();
    let entries =
        [(EntryType::Char, "null", ""), (EntryType::Fifo, "pipe", ""), file("program", "x")];
    yard.image(&bundle(&[layer(&entries)]), &LIMITS).unwrap();
    let found = listing(&yard.task());
    assert_eq!(found.len(), 1);
    assert_eq!(found["program"], (0o755, b"x".to_vec()));
}

#[test]
fn names_may_be_long() {
    let yard = Yard::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    builder.append_data(&mut header, &long, &b"x"[..]).unwrap();
    yard.image(&bundle(&[builder.into_inner().unwrap()]), &LIMITS).unwrap();
    assert_eq!(listing(&yard.task())[&long].1, b"x");

    let yard = Yard::new();
    let record = format!("{} path={long}\n", long.len() + 10);
    assert_eq!(record.len(), long.len() + 10);
    let entries = [(EntryType::XHeader, "x", record.as_str()), file("short", "x")];
    yard.image(&bundle(&[layer(&entries)]), &LIMITS).unwrap();
    assert_eq!(listing(&yard.task())[&long].1, b"x");
}

#[test]
fn what_is_hostile_or_damaged_is_refused() {
    let refused = |bytes: &[u8]| {
        let yard = Yard::new();
        let error = yard.image(bytes, &LIMITS).unwrap_err();
        assert_eq!(yard.escaped(), [""; 0]);
        error.to_string()
    };
    assert!(refused(&bundle(&[layer(&[file("a/../../b", "")])])).contains("leads out"));
    assert!(refused(&bundle(&[layer(&[link("a", "")])])).contains("link to no path"));
    let of_directory = [file("d/x", ""), (EntryType::Link, "e", "d")];
    assert!(refused(&bundle(&[layer(&of_directory)])).contains("second name of a directory"));
    assert!(refused(&bundle(&[b"no archive".repeat(100)])).contains("damaged"));
    assert!(refused(b"lamplight image\n{\"format\":1}\n").contains("head"));
    assert!(refused(b"lamplight image\nno end").contains("head"));
    let whole = bundle(&[layer(&[file("a", &"x".repeat(5000))])]);
    for cut in [whole.len() - 4000, whole.len() - 5600] {
        let yard = Yard::new();
        assert!(yard.image(&whole[..cut], &LIMITS).is_err(), "{cut}");
    }
}

#[test]
fn images_cost_no_more_than_their_limits() {
    let zeros = layer(&[file("zeros", &"0".repeat(900_000))]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&zeros).unwrap();
    let packed = gzip.finish().unwrap();
    let layers = vec![BundleLayer { size: packed.len() as u64, gzip: true }; 2];
    let config = ImageConfig::default();
    let mut bytes = BundleHead { format: BundleHead::FORMAT, config, layers }.to_bytes();
    bytes.extend([packed.clone(), packed].concat());
    assert!(matches!(Yard::new().image(&bytes, &LIMITS), Err(UnzipError::TooLarge)));
    // Tiny files take blocks, and so do those that a later layer covers.
    let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let tiny: Vec<Entry<'_>> = names.iter().map(|name| file(name, "x")).collect();
    assert_eq!(Yard::new().image(&bundle(&[layer(&tiny)]), &LIMITS).unwrap(), 200 * 4096);
    let twice = Yard::new().image(&bundle(&[layer(&tiny), layer(&tiny)]), &LIMITS);
    assert!(matches!(twice, Err(UnzipError::TooLarge)));
    let names: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    let many: Vec<Entry<'_>> = names.iter().map(|name| file(name, "")).collect();
    assert!(matches!(
        Yard::new().image(&bundle(&[layer(&many)]), &LIMITS),
        Err(UnzipError::TooLarge)
    ));
}

#[test]
fn links_make_no_tree_deeper_than_paths_may_be() {
    let climb = |part: &str| {
        let yard = Yard::new();
        // Each turn goes on where the one before it ended.
        let names: Vec<String> = (0..60).map(|turn| format!("l{turn}")).collect();
        let mut entries = Vec::new();
        let down = [part; 8].join("/");
        let mut ends = vec![down.clone()];
        ends.extend(names.iter().map(|name| format!("{name}/{down}")));
        for (name, end) in names.iter().zip(&ends) {
            entries.push((EntryType::Directory, end.as_str(), ""));
            entries.push(link(name, end));
        }
        let error = yard.image(&bundle(&[layer(&entries)]), &LIMITS).unwrap_err();
        assert!(error.to_string().contains("too far down"), "{error}");
    };
    climb("d");
    climb(&"d".repeat(10));
}

#[test]
fn paths_have_the_limits_of_zip_files() {
    let refused = |path: String| {
        let record = format!(" path={path}\n");
        let length = (1..6).map(|digits| record.len() + digits);
        let length = length.into_iter().find(|sum| sum.to_string().len() + record.len() == *sum);
        let record = format!("{}{record}", length.unwrap());
        let entries = [(EntryType::XHeader, "x", record.as_str()), file("short", "x")];
        Yard::new().image(&bundle(&[layer(&entries)]), &LIMITS).unwrap_err().to_string()
    };
    assert!(refused("d/".repeat(128) + "f").contains("path that is too long"));
    assert!(
        refused(std::array::from_fn::<_, 6, _>(|_| "n".repeat(200)).join("/"))
            .contains("path that is too long")
    );
    assert!(refused("n".repeat(256)).contains("name that is too long"));
}

#[test]
fn directories_that_entries_need_count() {
    let names: Vec<String> = (0..300).map(|n| format!("{n}/f")).collect();
    let many: Vec<Entry<'_>> = names.iter().map(|name| file(name, "")).collect();
    let result = Yard::new().image(&bundle(&[layer(&many)]), &LIMITS);
    assert!(matches!(result, Err(UnzipError::TooLarge)), "{result:?}");
}

#[test]
fn layers_may_have_several_gzip_members() {
    let whole = layer(&[file("first", "1"), file("second", "2")]);
    let packed = whole.chunks(700).flat_map(|piece| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(piece).unwrap();
        gzip.finish().unwrap()
    });
    let packed: Vec<u8> = packed.collect();
    let layers = vec![BundleLayer { size: packed.len() as u64, gzip: true }];
    let config = ImageConfig::default();
    let mut bytes = BundleHead { format: BundleHead::FORMAT, config, layers }.to_bytes();
    bytes.extend(packed);
    let yard = Yard::new();
    yard.image(&bytes, &LIMITS).unwrap();
    assert_eq!(listing(&yard.task())["second"].1, b"2");
}
