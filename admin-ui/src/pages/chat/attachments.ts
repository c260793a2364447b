/** Images a person adds to a message. */
import type { Attachment } from '../../api/chat.ts';
import { t } from '../../i18n/index.ts';

const TYPES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);
export const ACCEPT = [...TYPES].join(',');
/** Used until the server has said its own limit. */
export const DEFAULT_MAX_IMAGE_BYTES = 6 * 1024 * 1024;

/** Reads the files; throws with a sentence for the person. */
export async function readImages(files: Iterable<File>, maxBytes: number): Promise<Attachment[]> {
  const read: Attachment[] = [];
  for (const file of files) {
    if (!TYPES.has(file.type)) throw new Error(t.chat.attachNotImage(file.name));
    if (file.size > maxBytes) throw new Error(t.chat.attachTooBig(file.name, megabytes(maxBytes)));
    read.push({
      type: 'image',
      mimeType: file.type,
      fileName: file.name || 'image',
      content: await base64(file),
    });
  }
  return read;
}

function megabytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 / 1024)} MB`;
}

function base64(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onerror = () => reject(reader.error ?? new Error('cannot read the file'));
    reader.onload = () => {
      const url = typeof reader.result === 'string' ? reader.result : '';
      resolve(url.slice(url.indexOf(',') + 1));
    };
    reader.readAsDataURL(file);
  });
}
