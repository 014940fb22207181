package tim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// endpoints are the REST API's base URLs by region. An SDKAppID belongs to one region; another region responds with
// codes like 60026 or 70020.
//
// The first five are from tencentcloud.com/document/product/1047/34967, 2022-07-06; its newer versions lack India. The
// others are from newer versions of the same page, 2023 to 2025-11. The Saudi Arabian region is missing: no document of
// the vendor names its hosts, and a request carries a UserSig. An app there needs TIM_ENDPOINT.
var endpoints = map[string]string{
	"china":         "https://console.tim.qq.com",
	"singapore":     "https://adminapisgp.im.qcloud.com",
	"seoul":         "https://adminapikr.im.qcloud.com",
	"frankfurt":     "https://adminapiger.im.qcloud.com",
	"india":         "https://adminapiind.im.qcloud.com",
	"siliconvalley": "https://adminapiusa.im.qcloud.com",
	"jakarta":       "https://adminapiidn.im.qcloud.com",
	"tokyo":         "https://adminapijpn.im.qcloud.com",
}

// backups are the base URLs that serve a region when its own host cannot be reached ("RESTful API overview",
// tencentcloud.com/document/product/1047/34620). Tokyo has none: no document of the vendor names one.
var backups = map[string]string{
	"china":         "https://adminapi.my-imcloud.com",
	"singapore":     "https://adminapisgp.my-imcloud.com",
	"seoul":         "https://adminapikr.my-imcloud.com",
	"frankfurt":     "https://adminapiger.my-imcloud.com",
	"india":         "https://adminapiind.my-imcloud.com",
	"siliconvalley": "https://adminapiusa.my-imcloud.com",
	"jakarta":       "https://adminapiidn.my-imcloud.com",
}

// Backup returns the base URL of a region's backup host, without a slash at its end, "" if there is none. endpoint is
// the region's base URL as [Endpoint] returns it. Other endpoints have no backup.
func Backup(endpoint string) string {
	for region, url := range endpoints {
		if url == endpoint {
			return backups[region]
		}
	}
	return ""
}

// Endpoint returns the base URL of a region, without a slash at its end.
func Endpoint(region string) (string, error) {
	if url, ok := endpoints[region]; ok {
		return url, nil
	}
	return "", fmt.Errorf("%q is not one of %s", region, strings.Join(Regions(), ", "))
}

// Regions returns the names that [Endpoint] knows, in alphabetical order.
func Regions() []string { return slices.Sorted(maps.Keys(endpoints)) }
