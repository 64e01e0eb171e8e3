// Asks a serving process for flags, with the stock providers; reads what to ask from stdin, prints what they gave.
//
//     {"url": …, "asked": [[flag, default, context], …],
//      "web": {"context": …, "other": …, "flags": [[flag, default], …]}}

import { readFileSync } from "node:fs";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature as Server } from "@openfeature/server-sdk";
import { OpenFeature as Web } from "@openfeature/web-sdk";

const { url, asked, web } = JSON.parse(readFileSync(0, "utf8"));
const methods = {
  boolean: "getBooleanDetails",
  string: "getStringDetails",
  number: "getNumberDetails",
  object: "getObjectDetails",
};
const detailsOf = (client, flag, fallback, ...context) => client[methods[typeof fallback]](flag, fallback, ...context);

const fetched = [];
const counting = async (request, options) => {
  const response = await fetch(request, options);
  fetched.push(response.status);
  return response;
};

async function onServer() {
  await Server.setProviderAndWait(new OFREPProvider({ baseUrl: url }));
  const client = Server.getClient();
  return Promise.all(asked.map(([flag, fallback, context]) => detailsOf(client, flag, fallback, context)));
}

async function inBrowser() {
  const provider = new OFREPWebProvider({ baseUrl: url, cacheMode: "disabled", fetchImplementation: counting });
  await Web.setContext(web.context);
  await Web.setProviderAndWait(provider);
  const client = Web.getClient();
  const details = () => web.flags.map(([flag, fallback]) => detailsOf(client, flag, fallback));
  const before = details();
  await Web.setContext({ ...web.context, unrelated: "changed" }); // nothing is other than it was: 304
  await Web.setContext(web.other);
  return { before, after: details(), statuses: fetched };
}

console.log(JSON.stringify({ server: await onServer(), web: await inBrowser() }));
await Promise.all([Server.close(), Web.close()]);
