//! PDF files, as small as they can be.

use std::fmt::Write;

use flate2::{Compress, Compression, FlushCompress, Status};

/// A document of pages with these texts.
pub(crate) fn pages(texts: &[&str]) -> Vec<u8> {
    let contents: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| format!("BT /F1 24 Tf 72 700 Td ({text}) Tj ET").into_bytes())
        .collect();
    document(&contents, "")
}

/// A page whose content is two gigabytes of zeros, packed into two megabytes.
pub(crate) fn bomb() -> Vec<u8> {
    const BLOCK: usize = 1 << 20;
    let zeros = vec![0_u8; BLOCK];
    let mut packer = Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(BLOCK);
    let status = packer.compress_vec(&zeros, &mut block, FlushCompress::Full);
    assert!(matches!(status, Ok(Status::Ok)), "{status:?}");
    // After a full flush nothing refers to what came before: the same block again means the same again.
    let packed = [&[0x78, 0xda][..], &block.repeat(2_048)].concat();
    document(&[packed], "/Filter /FlateDecode")
}

fn document(contents: &[Vec<u8>], filter: &str) -> Vec<u8> {
    let kids: Vec<String> = (0..contents.len()).map(|at| format!("{} 0 R", 4 + at * 2)).collect();
    let (kids, count) = (kids.join(" "), contents.len());
    let mut objects: Vec<Vec<u8>> = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Kids [{kids}] /Count {count} >>").into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec(),
    ];
    for (at, content) in contents.iter().enumerate() {
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
             /Resources << /Font << /F1 3 0 R >> >> >>",
            5 + at * 2
        );
        objects.push(page.into_bytes());
        let head = format!("<< {filter} /Length {} >>\nstream\n", content.len());
        objects.push([head.as_bytes(), content, b"\nendstream"].concat());
    }
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (number, object) in (1..).zip(&objects) {
        writeln!(table, "{:010} 00000 n ", file.len()).expect("a text takes it");
        file.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let start = file.len();
    let size = objects.len() + 1;
    file.extend_from_slice(table.as_bytes());
    let end = format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF");
    file.extend_from_slice(end.as_bytes());
    file
}
