// One ZIP file of several (APPNOTE 6.3, stored as they are): what is added stays in Blobs, and only headers are made here.

import { crc32 } from "./chunks.js";
import { Fault } from "./key.js";

const MOST = 0xffffffff; // bytes, of a file and of the whole
const VERSION = 20, UTF8 = 0x0800;

// `entries`: {name, content: Blob or bytes or text}, also as they come. Throws a Fault for more than 4 GiB.
export async function zipOf(entries, at = new Date()) {
  const [parts, directory] = [[], []];
  let offset = 0, count = 0;
  for await (const { name, content } of entries) {
    const blob = new Blob([content]);
    const title = new TextEncoder().encode(name);
    if (offset + blob.size + title.length + 30 > MOST) throw new Fault("too_large");
    const fields = fieldsOf(await sumOf(blob), blob.size, title.length, at);
    parts.push(record(0x04034b50, [], fields), title, blob);
    const rest = [[2, 0], [2, 0], [2, 0], [4, 0], [4, offset]];
    directory.push(record(0x02014b50, [[2, VERSION]], [...fields, ...rest]), title);
    offset += 30 + title.length + blob.size;
    count++;
  }
  const size = directory.reduce((sum, part) => sum + part.byteLength, 0);
  const end = [[2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]];
  return new Blob([...parts, ...directory, record(0x06054b50, [], end)], { type: "application/zip" });
}

async function sumOf(blob) {
  let sum = 0;
  for (let at = 0; at < blob.size; at += 1 << 22)
    sum = crc32(new Uint8Array(await blob.slice(at, at + (1 << 22)).arrayBuffer()), sum);
  return sum;
}

// What both headers of a file say of it: pairs of a width in bytes and a value.
function fieldsOf(sum, size, title, at) {
  const time = (at.getHours() << 11) | (at.getMinutes() << 5) | (at.getSeconds() >> 1);
  const day = ((at.getFullYear() - 1980) << 9) | ((at.getMonth() + 1) << 5) | at.getDate();
  const sizes = [[4, sum], [4, size], [4, size], [2, title], [2, 0]];
  return [[2, VERSION], [2, UTF8], [2, 0], [2, time], [2, day], ...sizes];
}

function record(signature, first, rest) {
  const fields = [[4, signature], ...first, ...rest];
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [width]) => sum + width, 0)));
  let at = 0;
  for (const [width, value] of fields) {
    if (width === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += width;
  }
  return view.buffer;
}
