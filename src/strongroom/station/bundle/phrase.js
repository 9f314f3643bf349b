// The verification phrase of a digest: eight proquints (arXiv:0901.4016) of its first 16 bytes. As protocol/phrase.py.

const CONSONANTS = "bdfghjklmnprstvz";
const VOWELS = "aiou";
export const WORDS = 8;

export function proquint(number) {
  return (
    CONSONANTS[number >> 12] + VOWELS[(number >> 10) & 3] + CONSONANTS[(number >> 6) & 15] +
    VOWELS[(number >> 4) & 3] + CONSONANTS[number & 15]
  );
}

export function phrase(digest) {
  return Array.from({ length: WORDS }, (_, each) => proquint((digest[2 * each] << 8) | digest[2 * each + 1])).join(" ");
}
