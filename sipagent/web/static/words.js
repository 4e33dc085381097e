// The words of the page, which the server writes in the reader's language: a block of JSON, by code.

export function wordsIn(element) {
  const words = JSON.parse(element.textContent);
  return (code, fields = {}) => words[code].replace(/\{(\w+)\}/g, (_, name) => fields[name]);
}

// `4:05`, `1:04:05`.
// `4:05.12` of seconds: a span may be as short as 20 ms.
export function moment(seconds) {
  const [minutes, rest] = [Math.floor(seconds / 60), seconds % 60];
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2, minimumIntegerDigits: 2 };
  return `${minutes}:${rest.toLocaleString(document.documentElement.lang, digits)}`;
}

export function length(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
