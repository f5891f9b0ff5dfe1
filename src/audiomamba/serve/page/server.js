// Questions to the server that the page came from. Relative addresses: it may stand behind a path.

let token = sessionStorage.getItem("token") ?? "";

async function askForToken() {
  const dialog = document.getElementById("ask-token");
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
  token = document.getElementById("token").value;
  sessionStorage.setItem("token", token);
}

export async function ask(path, options = {}) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    await askForToken();
    return ask(path, options);
  }
  if (!answer.ok) {
    let message = `the server answers ${answer.status}`;
    try {
      message = (await answer.json()).error ?? message;
    } catch { /* the answer is no JSON */ }
    throw new Error(message);
  }
  return answer;
}

export const askJson = async (path, options) => (await ask(path, options)).json();

export function openSocket(query) {
  const address = new URL(`v1/live?${query}`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return new WebSocket(address, token ? ["audiomamba", `bearer.${token}`] : []);
}
