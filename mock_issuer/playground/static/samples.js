// Code samples of one request: curl, Python, JavaScript.

export function samples(request) {
  return { curl: curl(request), Python: python(request), JavaScript: javascript(request) };
}

function curl({ method, url, headers, form, json }) {
  const lines = [`curl ${method === (form || json ? "POST" : "GET") ? "" : `-X ${method} `}${shell(url)}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`-H ${shell(`${name}: ${value}`)}`);
  for (const [name, value] of Object.entries(form ?? {})) lines.push(`--data-urlencode ${shell(`${name}=${value}`)}`);
  if (json) lines.push(`--json ${shell(JSON.stringify(json))}`);
  return lines.join(" \\\n  ");
}

function python({ method, url, headers, form, json }) {
  const more = [
    Object.keys(headers).length ? `headers=${dictionary(headers)}` : "",
    form ? `data=${dictionary(form)}` : "",
    json ? `json=${dictionary(json)}` : "",
    "timeout=10",
  ].filter(Boolean);
  const call = `requests.${method.toLowerCase()}(\n    ${JSON.stringify(url)},\n    ${more.join(",\n    ")},\n)`;
  return `import requests\n\nresponse = ${call}\nprint(response.status_code, response.json())`;
}

function javascript({ method, url, headers, form, json }) {
  const body = form ? `new URLSearchParams(${JSON.stringify(form, null, 4)})` : json ? `JSON.stringify(${JSON.stringify(json)})` : null;
  const sent = json ? { ...headers, "Content-Type": "application/json" } : headers;
  const options = [
    method === "GET" ? "" : `method: ${JSON.stringify(method)}`,
    Object.keys(sent).length ? `headers: ${JSON.stringify(sent)}` : "",
    body ? `body: ${body}` : "",
  ].filter(Boolean);
  const second = options.length ? `, {\n  ${options.join(",\n  ")},\n}` : "";
  return `const response = await fetch(${JSON.stringify(url)}${second});\nconsole.log(response.status, await response.json());`;
}

const shell = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
// Requests contain strings and numbers only, for which JSON is valid Python.
const dictionary = (values) => `{${Object.entries(values).map((entry) => entry.map((part) => JSON.stringify(part)).join(": ")).join(", ")}}`;
